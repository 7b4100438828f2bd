"""Both forms of the rate limit are one rule."""

from hypothesis import given
from hypothesis import strategies as st

from parlour.core.rates import Bucket, book, take

gaps = st.lists(st.integers(0, 40), max_size=60)


@given(gaps, st.integers(1, 10))
def test_booking_allows_what_a_bucket_allows(steps, burst):
    # Quarters of a second and a rate of 4 are exact in binary.
    rate, now = 4.0, 1000.0
    bucket, until = Bucket(burst, now), 0.0
    for step in steps:
        now += step / 16
        left = take(bucket, now, rate=rate, burst=burst)
        booked = book(until, now, interval=1 / rate, ahead=(burst - 1) / rate)

        assert (left is None) == (booked is None)
        bucket, until = left or bucket, booked or until
