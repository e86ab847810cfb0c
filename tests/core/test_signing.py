from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mooring.core.signing import (
    ACCEPTED,
    BODY_MAC_BYTES,
    NO_BODY,
    REFUSED,
    SIGNED_BODY,
    BodyMac,
    NonceWindow,
    PeerClaim,
    sign_reply,
    sign_request,
    verify_reply,
    verify_request,
)
from mooring.errors import SignatureError

PROPERTY = settings(deadline=None, max_examples=100)
KEY = b"k" * 32
OTHER_KEY = b"o" * 32
NONCE_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
LONGEST_PRINCIPAL_BYTES = 1536


@dataclass(frozen=True)
class Sent:
    """All that a signature covers."""

    claim: PeerClaim
    method: str
    target: bytes
    session_id: str | None

    def sign(self, key: bytes = KEY) -> str:
        return sign_request(key, self.claim, self.method, self.target, self.session_id)

    def verify(self, text: str, key: bytes = KEY, recipient: str | None = None) -> PeerClaim:
        return verify_request(
            key, text, self.method, self.target, self.session_id, recipient=recipient or self.claim.recipient
        )


node_ids = st.sampled_from(["node-1-aaaaa", "node-1-aaaab", "n-22222", "a-b--c-zzzzz", "9" * 63 + "-abcde"])
nonces = st.binary(min_size=16, max_size=16).map(lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="))
principals = st.text(max_size=40)
CLAIM_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "sender": node_ids,
    "recipient": node_ids,
    "time_ms": st.integers(0, 10**15 - 1),
    "nonce": nonces,
    "principal": principals,
    "body": st.sampled_from([SIGNED_BODY, NO_BODY]),
}
claims = st.builds(PeerClaim, **CLAIM_FIELDS)
methods = st.sampled_from(["GET", "POST", "DELETE"]) | st.text(max_size=10)
targets = st.binary(max_size=60)
# As the headers say it: Latin-1. An empty one and none are signed alike, and neither is ever a session.
session_ids = st.none() | st.text(st.characters(codec="latin-1"), min_size=1, max_size=50)
sent = st.builds(Sent, claims, methods, targets, session_ids)


def one_of_the_fields(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A new value for one of them."""
    return st.one_of([st.fixed_dictionaries({name: values}) for name, values in fields.items()])


A_CLAIM = PeerClaim("node-1-aaaaa", "node-2-bbbbb", 1_700_000_000_000, "n" * 22, '["iss","sub",null]', SIGNED_BODY)
A_REQUEST = Sent(A_CLAIM, "POST", b"/mcp?x=1", "aaaaa.session")


@PROPERTY
@given(sent)
def test_what_was_signed_verifies_and_says_the_same(request: Sent) -> None:
    text = request.sign()
    assert request.verify(text) == request.claim
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, LONGEST_PRINCIPAL_BYTES])
def test_principals_of_every_length_modulo_the_encodings(length: int) -> None:
    request = replace(A_REQUEST, claim=replace(A_CLAIM, principal="p" * length))
    assert request.verify(request.sign()).principal == "p" * length


def test_a_principal_that_is_longer_than_a_header_should_be_is_refused() -> None:
    request = replace(A_REQUEST, claim=replace(A_CLAIM, principal="p" * (LONGEST_PRINCIPAL_BYTES + 1)))
    with pytest.raises(SignatureError, match="not the form"):
        request.verify(request.sign())


@PROPERTY
@given(sent, st.data())
def test_a_change_of_any_field_of_the_request_fails(request: Sent, data: st.DataObject) -> None:
    changed = data.draw(one_of_the_fields({"method": methods, "target": targets, "session_id": session_ids}))
    other = replace(request, **changed)
    assume(other != request)
    with pytest.raises(SignatureError, match="bad signature"):
        other.verify(request.sign())


@PROPERTY
@given(sent, st.data())
def test_a_change_of_any_field_of_the_claim_fails(request: Sent, data: st.DataObject) -> None:
    """What was said of one claim, with its MAC, does not hold for another claim."""
    changed = data.draw(one_of_the_fields(CLAIM_FIELDS))
    other = replace(request, claim=replace(request.claim, **changed))
    assume(other != request)
    said, mac = other.sign().rpartition(";")[0], request.sign().rpartition(";")[2]
    with pytest.raises(SignatureError, match="bad signature"):
        other.verify(f"{said};{mac}")


@PROPERTY
@given(sent, st.integers(0, 10_000), st.characters() | st.sampled_from("0123456789abcdef;-_AZ"))
def test_a_change_of_any_one_character_fails(request: Sent, position: int, letter: str) -> None:
    text = request.sign()
    position %= len(text)
    assume(text[position] != letter)
    with pytest.raises(SignatureError):
        request.verify(text[:position] + letter + text[position + 1 :])


@pytest.mark.parametrize("position", range(len(A_REQUEST.sign())))
def test_every_position_counts(position: int) -> None:
    text = A_REQUEST.sign()
    for letter in NONCE_ALPHABET + ";=":
        if letter != text[position]:
            with pytest.raises(SignatureError):
                A_REQUEST.verify(text[:position] + letter + text[position + 1 :])


@PROPERTY
@given(st.binary(max_size=8), st.binary(max_size=8))
def test_what_one_part_loses_another_does_not_win(one: bytes, other: bytes) -> None:
    """The parts are told apart by their lengths, not by what lies between them."""
    assume(one != b"")
    text = one.decode("latin-1")
    request = replace(A_REQUEST, method="POST" + text, target=b"/mcp" + other)
    with pytest.raises(SignatureError):
        replace(request, method="POST", session_id=text + (request.session_id or "")).verify(request.sign())


@PROPERTY
@given(sent)
def test_another_key_fails(request: Sent) -> None:
    with pytest.raises(SignatureError, match="bad signature"):
        request.verify(request.sign(), OTHER_KEY)


@PROPERTY
@given(sent, node_ids)
def test_another_node_than_the_recipient_refuses(request: Sent, node_id: str) -> None:
    assume(node_id != request.claim.recipient)
    with pytest.raises(SignatureError, match=f"meant for node {request.claim.recipient}"):
        request.verify(request.sign(), recipient=node_id)


any_text = st.text(st.characters(exclude_categories=()))
almost = st.from_regex(
    r"\A1;[a-z0-9-]{1,80};[a-z0-9-]{1,80};[0-9]{1,15};[A-Za-z0-9_-]{22};[A-Za-z0-9_-]{0,40};(signed|none);[0-9a-f]{64}\Z"
)


@settings(deadline=None, max_examples=200)
@given(any_text | almost | any_text.map(lambda text: text.join(A_REQUEST.sign().split(";"))))
@example("")
@example("\0")
@example("1;a;b;" + "9" * 100_000)
@example("1;" + "a" * 1_000_000)
@example(A_REQUEST.sign() + "\n")
@example(A_REQUEST.sign().replace("1", "\u0661"))
@example("\udcff" * 100)
@example("\u00fc" * 100)
def test_no_text_makes_verifying_a_request_raise_anything_else(text: str) -> None:
    assume(text != A_REQUEST.sign())
    with pytest.raises(SignatureError):
        A_REQUEST.verify(text)


@pytest.mark.parametrize("principal", ["A", "AAAAA", "_w", "7aCA"], ids=["1 letter", "5 letters", "0xFF", "surrogate"])
def test_a_principal_that_does_not_decode_is_refused(principal: str) -> None:
    parts = A_REQUEST.sign().split(";")
    parts[5] = principal
    with pytest.raises(SignatureError, match="not the form"):
        A_REQUEST.verify(";".join(parts))


@pytest.mark.parametrize(("position", "otherwise"), [(5, "cB"), (3, "01700000000000")])
def test_there_is_one_way_to_write_a_claim(position: int, otherwise: str) -> None:
    """Though the text with spare bits or a leading zero decodes to the very claim that was signed."""
    request = replace(A_REQUEST, claim=replace(A_CLAIM, principal="p"))
    parts = request.sign().split(";")
    parts[position] = otherwise
    with pytest.raises(SignatureError, match="bad signature"):
        request.verify(";".join(parts))


@settings(deadline=None, max_examples=200)
@given(any_text | st.from_regex(r"\Anode-2-bbbbb;(accepted|refused);[0-9a-f]{64}\Z"))
@example("")
@example("\udcff;accepted;")
@example("\ud800")
@example("n\u00f6de;accepted;" + "0" * 64)
@example("x" * 1_000_000)
def test_no_text_makes_verifying_a_reply_raise_anything_else(text: str) -> None:
    with pytest.raises(SignatureError, match="not from node node-2-bbbbb"):
        verify_reply(KEY, text, "n" * 22, "node-2-bbbbb", 200)


@PROPERTY
@given(nonces, node_ids, st.sampled_from([ACCEPTED, REFUSED]), st.integers(100, 599))
def test_a_reply_verifies_and_says_its_verdict(nonce: str, node_id: str, verdict: str, status: int) -> None:
    text = sign_reply(KEY, nonce, node_id, verdict, status)
    assert verify_reply(KEY, text, nonce, node_id, status) == verdict


REPLY = sign_reply(KEY, "n" * 22, "node-2-bbbbb", ACCEPTED, 200)


@pytest.mark.parametrize(
    ("key", "nonce", "node_id", "status"),
    [
        (OTHER_KEY, "n" * 22, "node-2-bbbbb", 200),
        (KEY, "m" * 22, "node-2-bbbbb", 200),
        (KEY, "n" * 22, "node-3-bbbbb", 200),
        (KEY, "n" * 22, "node-2-bbbbb", 404),
    ],
    ids=["key", "nonce", "node", "status"],
)
def test_a_reply_is_bound_to_its_request_its_node_and_its_status(
    key: bytes, nonce: str, node_id: str, status: int
) -> None:
    assert verify_reply(KEY, REPLY, "n" * 22, "node-2-bbbbb", 200) == ACCEPTED
    with pytest.raises(SignatureError):
        verify_reply(key, REPLY, nonce, node_id, status)


def test_an_acceptance_does_not_become_a_refusal() -> None:
    with pytest.raises(SignatureError):
        verify_reply(KEY, REPLY.replace(ACCEPTED, REFUSED), "n" * 22, "node-2-bbbbb", 200)


def test_a_request_is_never_a_reply_and_a_body_is_neither() -> None:
    mac = A_REQUEST.sign().rpartition(";")[2]
    with pytest.raises(SignatureError):
        verify_reply(KEY, f"node-2-bbbbb;{ACCEPTED};{mac}", A_CLAIM.nonce, "node-2-bbbbb", 200)
    assert not BodyMac(KEY, A_CLAIM.nonce).matches(bytes.fromhex(mac))


# Age and repetition.

MAX_AGE_MS = 1_000


def claim_at(time_ms: int, nonce: int) -> PeerClaim:
    return replace(A_CLAIM, time_ms=time_ms, nonce=f"{nonce:022d}")


@PROPERTY
@given(st.integers(0, 10**6), st.integers(-3 * MAX_AGE_MS, 3 * MAX_AGE_MS))
def test_what_is_too_old_or_of_the_future_is_refused(now_ms: int, age_ms: int) -> None:
    window = NonceWindow(MAX_AGE_MS)
    claim = claim_at(now_ms - age_ms, 1)
    if abs(age_ms) <= MAX_AGE_MS:
        window.accept(claim, now_ms, now_ms)
    else:
        with pytest.raises(SignatureError, match="1 s allowed"):
            window.accept(claim, now_ms, now_ms)


def accepts(window: NonceWindow, claim: PeerClaim, now_ms: int, steady_ms: int | None = None) -> bool:
    try:
        window.accept(claim, now_ms, now_ms if steady_ms is None else steady_ms)
    except SignatureError:
        return False
    return True


@PROPERTY
@given(
    st.lists(
        st.tuples(st.integers(0, 2 * MAX_AGE_MS), st.integers(-2 * MAX_AGE_MS, 2 * MAX_AGE_MS), st.integers(0, 3)),
        max_size=40,
    )
)
def test_nothing_is_accepted_twice_however_the_clocks_differ(story: list[tuple[int, int, int]]) -> None:
    """Steps of time, the sender's clock against ours, and which of a few claims is sent (again)."""
    window = NonceWindow(MAX_AGE_MS)
    now_ms = 10**9
    sent_at: dict[int, int] = {}
    accepted: list[int] = []
    for step_ms, ahead_ms, nonce in story:
        now_ms += step_ms
        claim = claim_at(sent_at.setdefault(nonce, now_ms + ahead_ms), nonce)
        if accepts(window, claim, now_ms):
            accepted.append(nonce)
    assert len(accepted) == len(set(accepted))


def test_a_refusal_for_age_uses_up_no_nonce() -> None:
    window = NonceWindow(MAX_AGE_MS)
    early = claim_at(MAX_AGE_MS + 500, 1)
    assert not accepts(window, early, 0)
    assert accepts(window, early, 500)
    assert not accepts(window, early, 600)


def test_a_nonce_is_remembered_to_the_very_end_of_its_claims_life() -> None:
    window = NonceWindow(MAX_AGE_MS)
    of_the_future = claim_at(MAX_AGE_MS, 1)
    assert accepts(window, of_the_future, 0)
    assert not accepts(window, of_the_future, 2 * MAX_AGE_MS)


def test_a_nonce_is_not_used_again_where_the_clock_was_set_back_and_comes_there_again() -> None:
    window = NonceWindow(MAX_AGE_MS)
    captured = claim_at(10 * MAX_AGE_MS, 1)
    assert accepts(window, captured, 10 * MAX_AGE_MS)
    for turn in range(2, 120):  # back, and on
        now = turn * MAX_AGE_MS // 10
        assert accepts(window, claim_at(now, turn), now, 10 * MAX_AGE_MS + now)
        assert not accepts(window, captured, now, 10 * MAX_AGE_MS + now)
    later = 13 * MAX_AGE_MS
    assert accepts(window, claim_at(later, 0), later, 10 * MAX_AGE_MS + later)
    assert window._ahead == {}


def test_what_goes_out_again_is_known_where_the_clock_was_set_forward_meanwhile() -> None:
    window = NonceWindow(MAX_AGE_MS)
    assert accepts(window, claim_at(0, 1), 0)
    ahead = 100 * MAX_AGE_MS
    assert accepts(window, claim_at(ahead, 2), ahead, 10)
    assert not accepts(window, claim_at(ahead, 1), ahead, 20), "it is dated anew"
    assert not accepts(window, claim_at(0, 1), 30), "nor where the clock is back"


@PROPERTY
@given(
    st.lists(
        st.tuples(st.integers(0, MAX_AGE_MS), st.integers(-10 * MAX_AGE_MS, 10 * MAX_AGE_MS), st.integers(0, 3)),
        max_size=40,
    )
)
def test_nothing_is_accepted_twice_in_its_time_however_the_clock_is_set(story: list[tuple[int, int, int]]) -> None:
    """Steps of time, how far the clock is set, and which of a few claims is sent (again), dated anew."""
    window = NonceWindow(MAX_AGE_MS)
    steady_ms, set_by_ms = 0, 10**9
    accepted: dict[int, int] = {}
    for step_ms, set_ms, nonce in story:
        steady_ms, set_by_ms = steady_ms + step_ms, set_by_ms + set_ms
        now_ms = steady_ms + set_by_ms
        if accepts(window, claim_at(now_ms, nonce), now_ms, steady_ms):
            assert nonce not in accepted or steady_ms - accepted[nonce] > 2 * MAX_AGE_MS
            accepted[nonce] = steady_ms


def test_memory_is_bounded_where_the_clock_was_far_ahead_for_a_while() -> None:
    window = NonceWindow(MAX_AGE_MS)
    window.accept(claim_at(10**12, 0), 10**12, 0)
    for turn in range(1, 1_000):
        window.accept(claim_at(turn * 100, turn), turn * 100, turn * 100)
    assert len(window._used) == len(window._order) <= 2 * MAX_AGE_MS / 100 + 1


def test_memory_is_bounded_by_what_comes_within_the_window() -> None:
    window = NonceWindow(MAX_AGE_MS)
    held = []
    for turn in range(10_000):
        window.accept(claim_at(turn * 100, turn), turn * 100, turn * 100)
        held.append(len(window._used))
    assert max(held) <= 2 * MAX_AGE_MS // 100 + 1
    assert len(window._order) == len(window._used)


def test_a_refused_claim_is_not_held() -> None:
    window = NonceWindow(MAX_AGE_MS)
    for turn in range(100):
        accepts(window, claim_at(-5_000, turn), 0)
        accepts(window, claim_at(0, 1_000), 0)
    assert len(window._used) == 1


# Bodies.


@PROPERTY
@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_a_body_has_one_mac_however_it_is_cut(body: bytes, cuts: list[int]) -> None:
    whole = BodyMac(KEY, A_CLAIM.nonce)
    whole.update(body)
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    cut = BodyMac(KEY, A_CLAIM.nonce)
    for start, end in itertools.pairwise(places):
        cut.update(body[start:end])
    assert cut.matches(whole.digest())
    assert len(whole.digest()) == BODY_MAC_BYTES


@PROPERTY
@given(st.binary(max_size=50), st.binary(max_size=50))
def test_another_body_has_another_mac(one: bytes, other: bytes) -> None:
    assume(one != other)
    mac, other_mac = BodyMac(KEY, A_CLAIM.nonce), BodyMac(KEY, A_CLAIM.nonce)
    mac.update(one)
    other_mac.update(other)
    assert not mac.matches(other_mac.digest())


@PROPERTY
@given(st.binary(max_size=40))
def test_a_mac_of_another_length_does_not_match(text: bytes) -> None:
    mac = BodyMac(KEY, A_CLAIM.nonce)
    assert not mac.matches(text)
    assert not mac.matches(mac.digest()[:-1])
    assert mac.matches(mac.digest())


def test_a_body_belongs_to_its_request_and_its_key() -> None:
    macs = {BodyMac(key, nonce).digest() for key in (KEY, OTHER_KEY) for nonce in ("n" * 22, "m" * 22)}
    assert len(macs) == 4
