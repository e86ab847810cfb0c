"""What a server keeps of a session: what is JSON is kept as it is, and what is not changes nothing."""

from __future__ import annotations

import json
import threading
from collections import Counter, OrderedDict, defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.kept_state import NOTHING, KeptState, StateUse, canonical
from mooring.errors import NoSession, StateRefused, StoreUnavailable

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@given(st.dictionaries(st.text(), values))
def test_what_is_json_is_read_back_as_it_was(own: dict[str, Any]) -> None:
    if not writable(json.dumps(own, ensure_ascii=False)):
        with pytest.raises(StateRefused):
            canonical({"own": own})
        return
    written = canonical({"own": own, "empty": {}})
    assert json.loads(written) == ({"own": own} if own else {})
    assert repr(json.loads(written)) == repr({"own": own} if own else {}), "in its order"
    assert canonical(json.loads(written)) == written


def looped() -> list[Any]:
    itself: list[Any] = []
    itself.append(itself)
    return itself


def deep() -> Any:
    found: Any = 1
    for _ in range(100_000):
        found = [found]
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        (1,),
        {1},
        b"x",
        float("nan"),
        float("inf"),
        {1: 2},
        {None: 2},
        object(),
        looped(),
        deep(),
        "\ud800",
        [{"a": (1,)}],
        [{"a": Counter("a")}],
        {"a": [defaultdict(list, x=[1])]},
        OrderedDict(a=1),
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_what_is_no_json_is_refused(wrong: Any) -> None:
    with pytest.raises(StateRefused):
        canonical({"own": {"a": wrong}})


def test_keys_that_json_would_turn_into_texts_are_refused() -> None:
    with pytest.raises(StateRefused):
        canonical({"own": {"a": {True: 1}}})


def test_the_order_of_keys_is_kept_as_a_dict_has_it() -> None:
    state = KeptState(canonical({"own": {"b": 1, "a": 2}}))
    assert list(StateUse(state).part()) == ["b", "a"]
    use = StateUse(state)
    own = use.part()
    own["b"] = own.pop("b")
    assert state.due(use) == b'{"own":{"a":2,"b":1}}'


def test_the_order_in_which_parts_were_begun_is_no_change() -> None:
    state = KeptState(canonical({"own": {"a": 1}, "another": {"b": 2}}))
    use = StateUse(state)
    own = dict(use.part())
    use.part().clear()
    assert use.parts is not None
    del use.parts["own"]
    use.part().update(own)
    assert state.due(use) is None


def test_who_never_asked_has_nothing_to_write_and_neither_has_who_only_looked() -> None:
    state = KeptState()
    one, other, third = StateUse(state), StateUse(state), StateUse(state)
    one.part()["n"] = 1
    other.peek("own")
    third.part()
    assert state.due(other) is None
    assert state.due(one) == b'{"own":{"n":1}}'
    assert state.due(third) == b'{"own":{"n":1}}', "it has seen what is on no record yet"


def test_all_calls_have_the_same_values_in_their_hands() -> None:
    state = KeptState()
    one, other = StateUse(state, "one"), StateUse(state, "other")
    one.part()["n"] = 1
    assert other.part() == {"n": 1}
    assert state.others(one) == ["other"]
    state.done(other)
    assert state.others(one) == []


def test_what_one_call_leaves_may_have_parts_of_the_others_that_have_the_same_values() -> None:
    state = KeptState()
    one, other, unnoted, dropped, reader = (StateUse(state, name) for name in ("one", "other", "", "dropped", "reader"))
    dropped.part()
    state.roll_back(dropped)
    for use in (one, other, unnoted):
        use.part()
    reader.peek("own")
    state.mix(one)
    assert [use.is_mixed for use in (one, other, unnoted, dropped, reader)] == [False, True, True, False, False]
    assert state.others(one) == ["other"]


def test_threads_that_ask_at_once_have_the_same_values() -> None:
    for _ in range(200):
        state, gate = KeptState(b'{"own":{}}'), threading.Barrier(4)
        found: list[int] = []

        def ask(state: KeptState = state, gate: threading.Barrier = gate, found: list[Any] = found) -> None:
            gate.wait()
            found.append(id(StateUse(state).part()))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1


def test_what_cannot_be_kept_is_dropped_for_all() -> None:
    state = KeptState(b'{"own":{"n":1}}')
    one, other = StateUse(state), StateUse(state)
    one.part()["n"] = float("nan")
    other.part()["m"] = 2
    with pytest.raises(StateRefused):
        state.due(one)
    state.roll_back(one)
    with pytest.raises(StateRefused, match="dropped"):
        state.due(other)
    assert StateUse(state).part() == {"n": 1}


def test_whoever_was_dropped_before_drops_nothing_of_what_came_after() -> None:
    state = KeptState()
    one, other = StateUse(state), StateUse(state)
    one.part(), other.part()
    state.roll_back(one)
    third = StateUse(state)
    third.part()["n"] = 1
    state.roll_back(other)
    assert state.due(third) == b'{"own":{"n":1}}'


def test_while_it_is_in_doubt_what_is_on_record_whoever_looks_need_not_wait() -> None:
    state = KeptState(b'{"own":{"n":1}}')
    one = StateUse(state)
    one.part()["n"] = 2
    state.roll_back(one, in_doubt=True)
    looks = StateUse(state)
    assert looks.part() == {"n": 1}
    assert state.is_in_doubt
    assert state.due(looks) is None
    state.is_kept(b'{"own":{"n":1}}')
    assert not state.is_in_doubt


def test_a_state_may_be_as_large_as_it_may_and_no_larger() -> None:
    largest = len(canonical({"own": {"a": ""}})) + 100
    state = KeptState(most_bytes=largest)
    use = StateUse(state)
    use.part()["a"] = "x" * 100
    assert len(state.due(use) or b"") == largest
    use.part()["a"] = "x" * 101
    with pytest.raises(StateRefused, match="state_bytes"):
        state.due(use)


def test_what_cannot_be_read_is_neither_read_nor_written_over() -> None:
    use = StateUse(KeptState(None))
    with pytest.raises(StoreUnavailable):
        use.part()
    with pytest.raises(StoreUnavailable):
        use.peek("own")
    assert use.state.due(use) is None


def test_once_the_call_is_answered_there_is_none() -> None:
    use = StateUse(KeptState())
    use.part()
    use.state.done(use)
    with pytest.raises(NoSession, match="was answered"):
        use.part()
    with pytest.raises(NoSession, match="a batch"):
        StateUse(KeptState(), refusal="it is a batch").part()


def test_versions_grow_and_leave_room_for_those_that_were_never_seen() -> None:
    fresh = KeptState()
    assert [fresh.next_version(), fresh.next_version()] == [1, 2]
    assert KeptState(NOTHING, version=7).next_version() > 1_000
