from __future__ import annotations

import base64
import re
import uuid

from hypothesis import given
from hypothesis import strategies as st

from mooring.core.ids import SessionIds, has_session_form
from mooring.doctor.evidence.forged_ids import altered, invented_like, odd_ids, same_beginning

VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=80)
OURS = SessionIds("a secret").mint("a2b3c", bytes(16))


def shape(text: str) -> str:
    for kind, pattern in (("0", r"[0-9]"), ("a", r"[a-z]"), ("A", r"[A-Z]")):
        text = re.sub(pattern, kind, text)
    return text


@given(VISIBLE)
def test_alike_has_the_same_shape_or_is_longer(session_id: str) -> None:
    invented = invented_like(session_id)
    is_hex = set(session_id) <= set("0123456789abcdef-.:_")
    same = shape(invented).replace("a", "0") if is_hex else shape(invented)
    expected = shape(session_id).replace("a", "0") if is_hex else shape(session_id)
    assert same.startswith(expected)
    assert (len(invented) == len(session_id)) == (sum(char.isalnum() for char in session_id) >= 16)
    assert invented != session_id


def test_alike_of_what_is_validated_by_its_form_keeps_the_form() -> None:
    assert uuid.UUID(invented_like(str(uuid.uuid4()))).version == 4
    assert set(invented_like(uuid.uuid4().hex)) <= set("0123456789abcdef")


def test_an_id_that_counts_does_not_become_that_of_somebody_else() -> None:
    assert len(invented_like("17")) > 30


@given(VISIBLE)
def test_altered_differs_in_the_last_character_only(session_id: str) -> None:
    changed = altered(session_id)
    assert changed[:-1] == session_id[:-1]
    assert changed[-1].lower() != session_id[-1].lower()
    assert changed[-1].isascii()


@given(st.binary(min_size=1, max_size=40))
def test_altered_is_another_value_to_every_reader_of_base64(value: bytes) -> None:
    text = base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    changed = altered(text)
    assert base64.urlsafe_b64decode(changed + "=" * (-len(changed) % 4)) != value


@given(st.binary(min_size=1, max_size=40))
def test_altered_is_hexadecimal_again(value: bytes) -> None:
    assert bytes.fromhex(altered(value.hex())) != value


def test_the_same_beginning_and_another_rest() -> None:
    assert same_beginning("abcdef") is None
    assert same_beginning("abc.") is None
    ours = same_beginning(OURS)
    assert ours is not None
    assert (ours[:6], ours == OURS, has_session_form(ours)) == (OURS[:6], False, True)
    counted = same_beginning("node-1:17")
    assert counted is not None
    assert counted.startswith("node-")
    assert len(counted) > 30


def test_oddities_may_stand_in_a_header() -> None:
    found = odd_ids()
    assert len(found["too_long"]) == 4000
    for value in found.values():
        assert re.fullmatch(r"[!-~]([ -~]*[!-~])?", value)
