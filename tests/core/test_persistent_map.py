"""The ledger is a dict whose values are put in a copy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.persistent_map import ROW, PersistentMap

entries = st.integers(1, 3 * ROW).map(lambda size: {str(n): n for n in range(size)})


@given(entries, st.data())
def test_it_is_the_dict_with_the_values_that_were_put(told, data):
    ledger = PersistentMap(told)
    for value, key in enumerate(data.draw(st.lists(st.sampled_from(list(told)), max_size=9))):
        before = dict(ledger)
        after = ledger.put(key, -value)
        assert dict(ledger) == before
        ledger, told = after, told | {key: -value}
    assert ledger == told
    assert list(ledger) == list(told)
    assert list(ledger.items()) == list(told.items())
    assert list(ledger.values()) == list(told.values())
    assert {key: ledger[key] for key in told} == told
    assert len(ledger) == len(told)
    assert all(key in ledger for key in told)


def test_a_key_that_it_has_not_is_a_key_error():
    ledger = PersistentMap({"a": 1})
    assert "b" not in ledger
    with pytest.raises(KeyError):
        ledger["b"]
    with pytest.raises(KeyError):
        ledger.put("b", 2)
