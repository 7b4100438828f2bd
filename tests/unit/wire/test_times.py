"""Times as clients read them."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from parlour.wire.times import rfc3339


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)))
def test_a_time_reads_back_to_the_millisecond(moment: datetime) -> None:
    ms = int(moment.timestamp()) * 1000 + moment.microsecond // 1000

    text = rfc3339(ms)

    assert len(text) == len("1970-01-01T00:00:00.000Z")
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == moment.replace(microsecond=ms % 1000 * 1000)


def test_both_ends_of_a_second() -> None:
    assert rfc3339(1_234_567_890_000) == "2009-02-13T23:31:30.000Z"
    assert rfc3339(1_234_567_890_999) == "2009-02-13T23:31:30.999Z"
