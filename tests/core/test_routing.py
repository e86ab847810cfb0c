from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core import routing
from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo, NodeState, unknown_node
from mooring.core.ownership import ClusterView
from mooring.core.request import RequestFacts
from mooring.core.routing import (
    CONSULT,
    HOLD,
    OPEN,
    SERVE,
    Adopt,
    Consult,
    Decision,
    Forward,
    Hold,
    Moved,
    Open,
    Reason,
    Refuse,
    Revive,
    Serve,
    Situation,
    decide,
)
from tests.core.views import ME, PEERS, SHARDS, a_node, a_view, views

PROPERTY = settings(deadline=None, max_examples=100)
PEER, FULLER_PEER = PEERS
OURS, THEIRS, NOBODYS = SHARDS

BOTH = a_view(a_node(ME), a_node(PEER), a_node(FULLER_PEER, sessions=9), owners={OURS: ME, THEIRS: PEER})
PEER_DEAD = a_view(a_node(ME), a_node(PEER), dead=(PEER,), owners={OURS: ME, THEIRS: PEER})
ALONE = a_view(a_node(ME))

ANYTHING = RequestFacts("POST")
LEGACY = RequestFacts("POST", session_id="a session id")
AT_HOME = Situation(ME, BOTH)
MODERN = RequestFacts("POST", modern=True, handle="a handle")
PLACED = RequestFacts("POST", modern=True, placed_on=OURS)
LAPSED = replace(AT_HOME, has_lapsed=True)
LEAVING = replace(AT_HOME, view=BOTH.without(PEER), takes_new=False, is_draining=True)

facts = st.builds(
    RequestFacts,
    method=st.sampled_from(["GET", "POST", "DELETE", "OPTIONS", ""]),
    session_id=st.sampled_from([None, "", "any text: verified or not"]),
    doubled=st.booleans(),
    modern=st.booleans(),
    peer=st.sampled_from([None, "", "1;"]),
    forwarded=st.booleans(),
    handle=st.sampled_from([None, "any text: verified or not"]),
    placed_on=st.sampled_from([None, *SHARDS]),
)
helpers = st.sampled_from([None, a_node(PEER)])
situations = st.builds(
    Situation,
    node_id=st.just(ME),
    view=views,
    takes_new=st.booleans(),
    session_here=st.booleans(),
    shard=st.sampled_from([None, *SHARDS]),
    consulted=st.booleans(),
    store_is_partial=st.booleans(),
    has_left=st.booleans(),
    is_draining=st.booleans(),
    store_is_filling=st.booleans(),
)
lapsed = st.builds(lambda here, helper: replace(here, has_lapsed=True, helper=helper), situations, helpers)


# The table in the module's docstring, row by row.

TABLE: dict[tuple[str, str], list[tuple[RequestFacts, Situation]]] = {
    ("`Mcp-Session-Id` twice", "-"): [
        (replace(LEGACY, doubled=True), AT_HOME),
        (replace(LEGACY, doubled=True, modern=True), AT_HOME),
        (replace(LEGACY, doubled=True), replace(AT_HOME, session_here=True, shard=OURS)),
    ],
    ("forwarded already", "our lease has lapsed"): [
        (replace(LEGACY, forwarded=True), replace(LAPSED, session_here=True, shard=OURS)),
        (replace(LEGACY, forwarded=True), replace(LAPSED, helper=a_node(PEER))),
        (replace(ANYTHING, forwarded=True), LAPSED),
    ],
    ("any other", "it has; a peer can renew its own"): [
        (LEGACY, replace(LAPSED, session_here=True, shard=OURS, helper=a_node(PEER))),
        (replace(ANYTHING, modern=True), replace(LAPSED, helper=a_node(PEER))),
        (ANYTHING, replace(LAPSED, helper=a_node(PEER))),
    ],
    ("any other", "it has; nobody tells us more"): [
        (LEGACY, replace(LAPSED, session_here=True, shard=OURS)),
        (LEGACY, replace(LAPSED, shard=THEIRS)),
        (replace(ANYTHING, modern=True), LAPSED),
        (ANYTHING, LAPSED),
    ],
    ("modern era, names no handle", "-"): [
        (replace(ANYTHING, modern=True), AT_HOME),
        (replace(ANYTHING, modern=True), replace(AT_HOME, takes_new=False)),
        (replace(LEGACY, modern=True), replace(AT_HOME, shard=THEIRS)),
        (replace(LEGACY, modern=True), AT_HOME),
    ],
    ("the same, not forwarded", "is draining; a peer takes new ones"): [
        (replace(ANYTHING, modern=True), replace(AT_HOME, takes_new=False, is_draining=True)),
    ],
    ("any other session", "its shard is being given to a peer"): [
        (LEGACY, replace(AT_HOME, session_here=True, shard=OURS, is_moving=True)),
        (LEGACY, replace(AT_HOME, shard=OURS, is_moving=True, consulted=True)),
        (replace(LEGACY, method="DELETE"), replace(AT_HOME, session_here=True, shard=OURS, is_moving=True)),
        (MODERN, replace(AT_HOME, session_here=True, shard=OURS, is_moving=True)),
    ],
    ("no session id, forwarded", "is draining; a peer takes new ones"): [
        (replace(ANYTHING, forwarded=True), replace(AT_HOME, takes_new=False, is_draining=True)),
    ],
    ("no session id", "takes new sessions, or was forwarded"): [
        (ANYTHING, AT_HOME),
        (replace(ANYTHING, method="DELETE"), AT_HOME),
        (replace(ANYTHING, forwarded=True), replace(AT_HOME, takes_new=False)),
    ],
    ("no session id", "is noticeably fuller than a peer"): [
        (ANYTHING, replace(AT_HOME, sessions=30, capacity=100)),
    ],
    ("no session id", "takes none; a peer does"): [(ANYTHING, replace(AT_HOME, takes_new=False))],
    ("no session id", "takes none; nor does any peer"): [
        (ANYTHING, Situation(ME, ALONE, takes_new=False)),
        (ANYTHING, Situation(ME, PEER_DEAD, takes_new=False)),
        (ANYTHING, Situation(ME, a_view(unknown_node(PEER)), takes_new=False)),
        (ANYTHING, Situation(ME, a_view(a_node(PEER, NodeState.DRAINING)), takes_new=False)),
        (ANYTHING, Situation(ME, a_view(a_node(PEER, sessions=5, capacity=5)), takes_new=False)),
        (ANYTHING, Situation(ME, a_view(a_node(PEER)).without(PEER), takes_new=False)),
    ],
    ("session is here", "-"): [
        (LEGACY, replace(AT_HOME, session_here=True)),
        (replace(LEGACY, forwarded=True), replace(AT_HOME, session_here=True, shard=OURS)),
        (LEGACY, replace(AT_HOME, session_here=True, shard=THEIRS, takes_new=False)),
    ],
    ("session id does not verify", "-"): [
        (LEGACY, AT_HOME),
        (replace(LEGACY, session_id=""), AT_HOME),
        (replace(LEGACY, forwarded=True), AT_HOME),
    ],
    ("handle is here", "-"): [
        (MODERN, replace(AT_HOME, session_here=True, shard=OURS)),
        (replace(MODERN, forwarded=True), replace(AT_HOME, session_here=True, shard=OURS)),
        (PLACED, replace(AT_HOME, session_here=True, shard=OURS)),
    ],
    ("handle does not verify", "-"): [
        (MODERN, AT_HOME),
        (replace(MODERN, session_id="a session id"), AT_HOME),
        (replace(MODERN, forwarded=True), AT_HOME),
    ],
    ("shard is ours, session is not here", ""): [
        (LEGACY, replace(AT_HOME, shard=OURS)),
        (MODERN, replace(AT_HOME, shard=OURS)),
        (replace(LEGACY, forwarded=True), replace(AT_HOME, shard=OURS)),
    ],
    ("forwarded already", "shard is another live node's, or not known"): [
        (replace(LEGACY, forwarded=True), replace(AT_HOME, shard=THEIRS)),
        (replace(LEGACY, forwarded=True), replace(AT_HOME, shard=NOBODYS)),
        (replace(MODERN, forwarded=True), replace(AT_HOME, shard=NOBODYS)),
    ],
    ("forwarded already", "the store is away, or may lack it"): [
        (replace(LEGACY, forwarded=True), replace(AT_HOME, shard=THEIRS, store_is_partial=True)),
        (replace(LEGACY, forwarded=True), replace(AT_HOME, shard=NOBODYS, store_is_partial=True)),
        (replace(LEGACY, forwarded=True), Situation(ME, PEER_DEAD, shard=THEIRS, store_is_partial=True)),
    ],
    ("shard is another live node's", "-"): [
        (LEGACY, replace(AT_HOME, shard=THEIRS)),
        (LEGACY, replace(AT_HOME, shard=THEIRS, takes_new=False)),
        (MODERN, replace(AT_HOME, shard=THEIRS)),
        (replace(PLACED, placed_on=THEIRS), replace(AT_HOME, shard=THEIRS)),
        (LEGACY, Situation(ME, a_view(a_node(PEER, NodeState.DRAINING), owners={THEIRS: PEER}), shard=THEIRS)),
    ],
    ("any other session", "this node said goodbye, or is declared dead"): [
        (LEGACY, replace(AT_HOME, shard=OURS, has_left=True)),
        (LEGACY, replace(AT_HOME, shard=NOBODYS, has_left=True)),
        (LEGACY, Situation(ME, PEER_DEAD, shard=THEIRS, has_left=True)),
    ],
    ("shard is another live node's", "its entry cannot be read: no URL"): [
        (LEGACY, Situation(ME, a_view(unknown_node(PEER), owners={THEIRS: PEER}), shard=THEIRS)),
    ],
    ("shard's owner is dead", "-"): [
        (LEGACY, Situation(ME, a_view(unknown_node(PEER), owners={THEIRS: PEER}, dead=(PEER,)), shard=THEIRS)),
        (LEGACY, Situation(ME, PEER_DEAD, shard=THEIRS)),
        (MODERN, Situation(ME, PEER_DEAD, shard=THEIRS)),
        (replace(LEGACY, forwarded=True), Situation(ME, PEER_DEAD, shard=THEIRS)),
        (LEGACY, Situation(ME, BOTH.without(PEER), shard=THEIRS)),
        (LEGACY, Situation(ME, a_view(a_node(ME), owners={THEIRS: PEER}), shard=THEIRS)),
    ],
    ("such a session, not forwarded", "is draining; a peer takes new ones"): [
        (LEGACY, replace(LEAVING, shard=THEIRS)),
        (MODERN, replace(LEAVING, shard=THEIRS)),
    ],
    ("shard is not known", "-"): [(LEGACY, replace(AT_HOME, shard=NOBODYS))],
    ("the same, not forwarded", "the store was empty as this node joined"): [
        (LEGACY, replace(AT_HOME, shard=NOBODYS, store_is_filling=True)),
    ],
    ("the last four", "the store is away, or may lack it"): [
        (LEGACY, Situation(ME, PEER_DEAD, shard=THEIRS, store_is_partial=True)),
        (LEGACY, replace(AT_HOME, shard=NOBODYS, store_is_partial=True)),
    ],
}


def documented_table() -> dict[tuple[str, str], str]:
    """Request and view -> decision, as the docstring of `mooring.core.routing` says it."""
    _, _, body = (routing.__doc__ or "").partition("---\n")
    rows = [re.split(r" {2,}", line.strip()) for line in body.split("\n\n")[0].splitlines()]
    table: dict[tuple[str, str], str] = {}
    last = ("", "")
    for row in rows:
        if len(row) == 1:
            table[last] += f" {row[0]}"
            continue
        last = (row[0], row[1] if len(row) == 3 else "")
        table[last] = row[-1]
    return table


def in_words(decision: Decision) -> str:
    match decision:
        case Serve():
            return "serve"
        case Open():
            return "open"
        case Forward():
            return "forward"
        case Hold():
            return "hold"
        case Consult():
            return "consult"
        case Adopt():
            return "adopt"
        case Moved():
            return "moved"
        case Revive():
            return "revive"
        case Refuse(reason=reason):
            return f"refuse `{reason}`"


def whole_way(request: RequestFacts, here: Situation) -> str:
    """What is decided, and decided again after the store was asked."""
    decision = decide(request, here)
    if isinstance(decision, Consult):
        return f"consult, {in_words(decide(request, replace(here, consulted=True)))}"
    return in_words(decision)


def test_the_documented_table_has_these_rows() -> None:
    assert list(documented_table()) == list(TABLE)


@pytest.mark.parametrize(("row", "case"), [(row, case) for row, cases in TABLE.items() for case in cases])
def test_each_row_of_the_documented_table(row: tuple[str, str], case: tuple[RequestFacts, Situation]) -> None:
    documented = re.sub(r"refuse \d{3}", "refuse", documented_table()[row])
    assert re.match(rf"{re.escape(whole_way(*case))}(?![\w,])", documented)


@pytest.mark.parametrize("shard", [THEIRS, NOBODYS])
def test_nothing_is_gone_and_nobody_dead_while_the_store_may_lack_it(shard: str) -> None:
    here = Situation(ME, PEER_DEAD, shard=shard, consulted=True, store_is_partial=True)
    assert decide(LEGACY, here) == HOLD


def test_a_dead_owners_shard_is_adopted_at_its_epoch() -> None:
    here = Situation(ME, PEER_DEAD, shard=THEIRS, consulted=True)
    assert decide(LEGACY, here) == Adopt(THEIRS, PEER_DEAD.shards[THEIRS])


def test_a_peer_is_told_whose_the_shard_is() -> None:
    forwarded = replace(LEGACY, forwarded=True)
    known = replace(AT_HOME, shard=THEIRS, consulted=True)
    assert decide(forwarded, known) == Moved(known.view.shards[THEIRS])
    assert decide(forwarded, replace(known, shard=NOBODYS)) == Moved(None)


def test_what_a_peer_passes_on_to_a_shard_that_moves_is_decided_there_anew() -> None:
    moving = replace(AT_HOME, session_here=True, shard=OURS, is_moving=True)
    assert decide(replace(LEGACY, forwarded=True), moving) == Moved(None)


def test_modern_calls_are_served_by_a_draining_node_that_has_no_peer_or_was_asked_by_one() -> None:
    modern = replace(ANYTHING, modern=True)
    assert decide(modern, Situation(ME, ALONE, takes_new=False, is_draining=True)) == SERVE
    assert decide(replace(modern, forwarded=True), replace(AT_HOME, takes_new=False, is_draining=True)) == SERVE


def test_a_little_more_than_a_peer_is_no_reason_to_pass_on() -> None:
    assert decide(ANYTHING, replace(AT_HOME, sessions=10, capacity=100)) == OPEN
    alone_and_full = Situation(ME, ALONE, sessions=90, capacity=100)
    assert decide(ANYTHING, alone_and_full) == OPEN


def test_a_session_is_forwarded_to_its_owner_and_a_new_one_to_the_emptiest_peer() -> None:
    assert decide(LEGACY, replace(AT_HOME, shard=THEIRS)) == Forward(a_node(PEER))
    assert decide(ANYTHING, replace(AT_HOME, takes_new=False)) == Forward(a_node(PEER))
    filled_up = a_view(a_node(PEER, sessions=90), a_node(FULLER_PEER, sessions=9, capacity=1_000))
    assert decide(ANYTHING, Situation(ME, filled_up, takes_new=False)) == Forward(
        a_node(FULLER_PEER, sessions=9, capacity=1_000)
    )


@pytest.mark.parametrize(
    ("loads", "chosen"),
    [
        ({PEER: (5, 10), FULLER_PEER: (9, 1_000)}, FULLER_PEER),
        ({PEER: (9, 1_000), FULLER_PEER: (5, 10)}, PEER),
        ({PEER: (1, 2), FULLER_PEER: (2, 3)}, PEER),
        ({PEER: (0, 1), FULLER_PEER: (0, 9)}, PEER),
        ({FULLER_PEER: (1, 2), PEER: (2, 4)}, PEER),
    ],
    ids=["share, not count", "the other way round", "close", "empty both", "as full, known in another order"],
)
def test_the_emptiest_peer_is_the_one_with_the_least_share_of_its_capacity(
    loads: dict[str, tuple[int, int]], chosen: str
) -> None:
    view = a_view(
        *(a_node(node_id, sessions=sessions, capacity=capacity) for node_id, (sessions, capacity) in loads.items())
    )
    decision = decide(ANYTHING, Situation(ME, view, takes_new=False))
    assert isinstance(decision, Forward)
    assert decision.node.id == chosen


def test_what_the_store_says_meanwhile_counts() -> None:
    """A shard that moved to a live node while we asked is forwarded there, not refused."""
    before = Situation(ME, PEER_DEAD, shard=THEIRS)
    assert decide(LEGACY, before) == CONSULT
    moved = a_view(a_node(ME), a_node(PEER), a_node(FULLER_PEER), dead=(PEER,), owners={THEIRS: FULLER_PEER})
    assert decide(LEGACY, replace(before, view=moved, consulted=True)) == Forward(a_node(FULLER_PEER))


# What holds whatever the request, and whatever the view.


@PROPERTY
@given(facts, situations)
def test_every_request_gets_a_decision(request: RequestFacts, here: Situation) -> None:
    assert isinstance(decide(request, here), Serve | Open | Consult | Forward | Hold | Adopt | Moved | Revive | Refuse)


@PROPERTY
@given(facts, situations)
def test_a_forwarded_request_is_never_forwarded_again(request: RequestFacts, here: Situation) -> None:
    assert not isinstance(decide(replace(request, forwarded=True), here), Forward)


@PROPERTY
@given(facts, situations)
def test_the_store_is_asked_once(request: RequestFacts, here: Situation) -> None:
    assert decide(request, replace(here, consulted=True)) != CONSULT


@PROPERTY
@given(facts, situations)
def test_the_store_is_asked_only_before_something_is_gone_dead_or_elsewhere(
    request: RequestFacts, here: Situation
) -> None:
    if decide(request, replace(here, consulted=False)) != CONSULT:
        return
    decision = decide(request, replace(here, consulted=True))
    assert isinstance(decision, Adopt | Hold | Moved | Revive | Refuse | Forward)
    if isinstance(decision, Forward):  # to the heir of a dead node's shard
        assert here.is_draining
        assert decision.node == here.another_taker()
    if isinstance(decision, Refuse):
        assert decision.reason is Reason.UNREACHABLE
    if isinstance(decision, Revive):
        assert decision.reason in {Reason.UNKNOWN, Reason.EXPIRED}


@PROPERTY
@given(facts, situations)
def test_a_session_is_revived_only_where_its_shard_is_ours_or_surely_nobodys(
    request: RequestFacts, here: Situation
) -> None:
    decision = decide(request, here)
    if isinstance(decision, Revive):
        assert here.consulted
        assert not here.session_here
        assert not here.has_left
        assert here.shard is not None
        owner = here.view.owner_of(here.shard)
        if owner is None:
            assert not here.store_is_partial
            assert not here.store_is_filling
            assert not request.forwarded
            assert decision.reason is Reason.UNKNOWN
        else:
            assert owner.node_id == ME
            assert decision.reason is Reason.EXPIRED


@PROPERTY
@given(facts, lapsed)
def test_a_node_whose_lease_has_lapsed_revives_nothing(request: RequestFacts, here: Situation) -> None:
    assert not isinstance(decide(request, here), Revive | Adopt)


@PROPERTY
@given(facts, situations)
def test_nothing_is_said_to_be_gone_before_the_store_was_asked(request: RequestFacts, here: Situation) -> None:
    decision = decide(request, replace(here, consulted=False))
    if isinstance(decision, Refuse):
        assert decision.reason in {Reason.DUPLICATE_HEADER, Reason.FORGED}


@PROPERTY
@given(facts, situations)
def test_forwarding_goes_to_a_live_peer_and_with_a_session_to_its_owner(request: RequestFacts, here: Situation) -> None:
    decision = decide(request, here)
    if isinstance(decision, Forward):
        peer = decision.node.id
        assert peer != ME
        assert here.view.is_alive(peer)
        assert decision.node == here.view.nodes[peer].info
        if request.session_id is not None:
            assert here.shard is not None
            owner = here.view.shards[here.shard].node_id
            assert owner == peer or (here.is_draining and not here.view.is_alive(owner))


@PROPERTY
@given(facts, situations)
def test_a_legacy_request_with_a_session_is_served_where_the_session_is(request: RequestFacts, here: Situation) -> None:
    legacy = replace(request, session_id=request.session_id or "", modern=False)
    assert (decide(legacy, here) == SERVE) == (here.session_here and not legacy.doubled)


@PROPERTY
@given(facts, situations)
def test_an_id_that_does_not_verify_is_refused_at_once(request: RequestFacts, here: Situation) -> None:
    forged = replace(request, session_id=request.session_id or "", modern=False, doubled=False)
    decision = decide(forged, replace(here, shard=None, session_here=False))
    assert decision == Refuse(Reason.FORGED)


@PROPERTY
@given(facts, situations)
def test_a_session_is_opened_only_for_a_request_without_one(request: RequestFacts, here: Situation) -> None:
    if decide(request, here) == OPEN:
        assert request.session_id is None
        assert not request.modern


@PROPERTY
@given(facts, situations)
def test_a_request_without_a_session_is_never_said_to_be_gone(request: RequestFacts, here: Situation) -> None:
    decision = decide(replace(request, session_id=None, doubled=False, handle=None, placed_on=None), here)
    assert not isinstance(decision, Refuse | Consult)


@PROPERTY
@given(facts, situations)
def test_the_modern_era_is_served_where_it_arrives_unless_it_names_something_or_the_node_drains(
    request: RequestFacts, here: Situation
) -> None:
    decision = decide(replace(request, modern=True, doubled=False, handle=None, placed_on=None), here)
    if here.is_draining and not request.forwarded and isinstance(decision, Forward):
        assert decision.node == here.another_taker()
    else:
        assert decision == SERVE


@PROPERTY
@given(facts, situations)
def test_a_handle_is_decided_as_a_session_id_is(request: RequestFacts, here: Situation) -> None:
    handle = replace(request, modern=True, handle="any text", session_id=None)
    session = replace(request, modern=False, handle=None, placed_on=None, session_id="any text")
    assert decide(handle, here) == decide(session, here)


@PROPERTY
@given(facts, situations)
def test_a_doubled_session_id_is_always_refused(request: RequestFacts, here: Situation) -> None:
    assert decide(replace(request, doubled=True), here) == Refuse(Reason.DUPLICATE_HEADER)


@PROPERTY
@given(facts, situations)
def test_unreachable_is_decided_only_of_a_living_owner_to_whom_there_is_no_way(
    request: RequestFacts, here: Situation
) -> None:
    if decide(request, here) == Refuse(Reason.UNREACHABLE):
        owner = here.view.owner_of(here.shard or "")
        assert owner is not None
        assert here.view.is_alive(owner.node_id)
        assert not here.view.nodes[owner.node_id].info.has_a_way
    assert decide(request, replace(here, store_is_partial=True)) != Refuse(Reason.UNKNOWN)


@PROPERTY
@given(facts, situations)
def test_misrouted_is_said_to_peers_only(request: RequestFacts, here: Situation) -> None:
    if decide(replace(request, forwarded=False), here) == Refuse(Reason.MISROUTED):
        pytest.fail("a client was told that its request was misrouted")


@PROPERTY
@given(facts, lapsed)
def test_a_node_whose_lease_has_lapsed_serves_and_opens_nothing(request: RequestFacts, here: Situation) -> None:
    decision = decide(replace(request, doubled=False), here)
    if request.forwarded:
        assert decision == Moved(None)
    else:
        assert decision == (Forward(here.helper) if here.helper else HOLD)


def room_at(view: ClusterView) -> list[NodeInfo]:
    return [
        node.info
        for node_id, node in view.nodes.items()
        if node_id != ME
        and view.is_alive(node_id)
        and node.info.state in TAKES_NEW_SESSIONS
        and node.info.sessions < node.info.capacity
    ]


@PROPERTY
@given(views)
def test_a_new_session_goes_to_the_least_loaded_peer_that_takes_any(view: ClusterView) -> None:
    decision = decide(ANYTHING, Situation(ME, view, takes_new=False))
    peers = room_at(view)
    if not peers:
        assert decision == OPEN
        return
    assert isinstance(decision, Forward)
    assert decision.node in peers
    assert all(decision.node.sessions * peer.capacity <= peer.sessions * decision.node.capacity for peer in peers)


@PROPERTY
@given(views)
def test_every_node_places_alike_whatever_order_it_knows_the_others_in(view: ClusterView) -> None:
    shuffled = dict(reversed(list(view.nodes.items())))
    here = Situation(ME, view, takes_new=False)
    assert decide(ANYTHING, here) == decide(ANYTHING, replace(here, view=replace(view, nodes=shuffled)))


@PROPERTY
@given(facts, situations)
def test_the_same_question_gets_the_same_answer(request: RequestFacts, here: Situation) -> None:
    assert decide(request, here) == decide(replace(request), replace(here))
