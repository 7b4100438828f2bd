"""Models in use as a value: entries run out, the latest renewal counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parlour.core.usage import Usage

RENEWALS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["s1", "s2", "s3"]), st.integers(1, 9)),
    max_size=12,
)


def after(renewals: list[tuple[str, str, int]]) -> Usage:
    usage = Usage()
    for model, session, until in renewals:
        usage.renew(model, session, until)
    return usage


@given(RENEWALS, st.randoms(use_true_random=False), st.integers(0, 10))
def test_the_order_of_renewals_does_not_matter(renewals, random, now) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(renewals)
    random.shuffle(shuffled)

    assert after(renewals).in_use(now) == after(shuffled).in_use(now)


@given(RENEWALS, st.integers(0, 10))
def test_sweeping_changes_nothing_that_anybody_sees(
    renewals: list[tuple[str, str, int]], now: int
) -> None:
    usage = after(renewals)
    before = usage.in_use(now)

    usage.sweep(now, 10)

    assert usage.in_use(now) == before
    assert usage.sweep(now, 10) == 0


def test_a_sweep_is_bounded() -> None:
    usage = after([("a", "s1", 1), ("b", "s1", 1)])

    swept = [usage.sweep(2, 1) for _ in range(3)]

    assert swept == [1, 1, 0]
