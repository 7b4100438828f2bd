"""JSON on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlour.errors import ProtocolError
from parlour.wire import json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_every_json_value_survives_the_round_trip(value):
    written = json.dumps(value)

    assert json.loads(written) == value


@given(st.text(alphabet=st.characters(codec=None), max_size=20))
def test_half_of_a_surrogate_pair_becomes_the_replacement_character(text):
    [received] = json.loads(json.dumps([text]))

    assert not any("\ud800" <= character <= "\udfff" for character in received)


def test_a_received_escape_of_half_a_pair_is_replaced_instead_of_refused():
    assert json.loads('["cut \\ud83d", {"k\\udc00": 1}]') == ["cut �", {"k�": 1}]


@pytest.mark.parametrize(
    "text",
    ["", "NaN", "[Infinity]", '["\\u0041", NaN]', "{1:2}", "[1,]", "\x00", "[" * 5000, '["\\u00"'],
)
def test_what_is_not_json_is_refused_with_the_typed_error(text):
    with pytest.raises(ProtocolError):
        json.loads(text)


def test_nan_is_sent_as_null():
    assert json.dumps([float("nan"), float("inf")]) == b"[null,null]"


def test_depth_counts_containers_inside_each_other_not_beside_each_other():
    wide = "[" + ",".join(["[]"] * 500) + "]"
    deep = "[" * 65 + "]" * 65

    assert not json.depth_exceeds(wide, json.loads(wide), 64)
    assert json.depth_exceeds(deep, json.loads(deep), 64)
    assert not json.depth_exceeds(deep, json.loads(deep), 65)
