"""What a client reads in place of the app's answer: a refusal that says what to do, and never more than is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.asgi import Message
from mooring.core.routing import Reason
from mooring.core.sse import SseBareBlock, SseParser
from mooring.node.requests.answers import MAY_WORK_SOON, advice_on, last_words, refuse, status_of

PROPERTY = settings(deadline=None, max_examples=100)

GONE = {Reason.FORGED, Reason.UNKNOWN, Reason.EXPIRED, Reason.OWNER_LOST, Reason.MISROUTED, Reason.PRINCIPAL}
METHODS = ("GET", "POST", "DELETE", "PUT")

reasons = pytest.mark.parametrize("reason", list(Reason))


async def refusal(reason: Reason, **options: Any) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await refuse(send, reason, **options)
    start, end = sent
    assert end["more_body"] is False
    return start["status"], dict(start["headers"]), end["body"]


@reasons
async def test_every_reason_has_a_status_of_its_kind(reason: Reason) -> None:
    """404 makes a client open a new session, so it is said where the session is gone, and nowhere else; 5xx kills."""
    status, _, _ = await refusal(reason)
    assert status == status_of(reason)
    assert (status == 404) is (reason in GONE)
    assert status < 500


@reasons
async def test_every_refusal_is_an_error_of_json_rpc_with_its_reason(reason: Reason) -> None:
    status, headers, body = await refusal(reason)
    told = json.loads(body)
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"cache-control"] == b"no-store"
    assert int(headers[b"content-length"]) == len(body)
    assert (told["jsonrpc"], told["id"]) == ("2.0", None)
    assert told["error"]["code"] == (-32603 if status == 200 else -32600)
    assert told["error"]["data"] == {"reason": "unknown" if reason is Reason.PRINCIPAL else str(reason)}


@reasons
async def test_every_refusal_tells_client_and_operator_what_to_do(reason: Reason) -> None:
    _, _, body = await refusal(reason)
    message = json.loads(body)["error"]["message"]
    assert len(message) > 20
    if reason in GONE:
        assert "Send initialize" in message
    if reason is not Reason.DUPLICATE_HEADER:
        assert "Operator:" in message


@pytest.mark.parametrize("method", METHODS)
async def test_anothers_session_looks_exactly_as_one_that_never_was(method: str) -> None:
    assert await refusal(Reason.PRINCIPAL, method=method) == await refusal(Reason.UNKNOWN, method=method)


@PROPERTY
@given(
    st.sampled_from(list(Reason)),
    st.none() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
)
async def test_the_answer_is_to_the_request_that_was_sent(reason: Reason, request_id: Any) -> None:
    _, _, body = await refusal(reason, request_id=request_id)
    assert json.loads(body)["id"] == request_id


@pytest.mark.parametrize("reason", sorted(MAY_WORK_SOON))
@pytest.mark.parametrize("method", METHODS)
async def test_what_may_work_soon_is_a_stream_that_comes_again_or_an_error_of_one_request(
    method: str, reason: Reason
) -> None:
    status, headers, body = await refusal(reason, method=method, request_id=7)
    assert status == 200
    if method == "GET":
        assert headers[b"content-type"] == b"text/event-stream"
        assert body == b"retry: 3000\n\n"
    else:
        assert json.loads(body)["id"] == 7


@reasons
async def test_no_other_refusal_of_a_get_is_a_stream(reason: Reason) -> None:
    _, headers, _ = await refusal(reason, method="GET")
    assert (headers[b"content-type"] == b"text/event-stream") is (reason in MAY_WORK_SOON)


@reasons
async def test_the_client_of_a_posted_message_reads_in_the_status_whether_it_may_try_again(reason: Reason) -> None:
    status, headers, body = await refusal(reason, is_posted=True)
    if reason in MAY_WORK_SOON:
        assert status == 503
        assert json.loads(body)["error"]["data"] == {"reason": reason}
    else:
        assert (status, headers, body) == await refusal(reason)


def test_the_last_words_of_a_stream_whose_node_died_answer_its_request() -> None:
    [event] = SseParser().feed(last_words("POST", "id 7"))
    answer = json.loads(event.data)
    assert answer["id"] == "id 7"
    assert answer["error"]["data"]["reason"] == "outcome_unknown"


@pytest.mark.parametrize(("method", "request_id"), [("GET", None), ("POST", None), ("GET", 1)])
def test_where_there_is_no_request_to_answer_they_say_when_to_come_back(method: str, request_id: int | None) -> None:
    [block] = SseParser().read(last_words(method, request_id))
    assert isinstance(block, SseBareBlock)
    assert block.retry_milliseconds


@pytest.mark.parametrize("reason", list(Reason))
def test_the_log_tells_the_operator_what_the_answer_tells(reason: Reason) -> None:
    """But for what is the client's alone to mend."""
    advice = advice_on(reason)
    if advice == "":
        assert reason in (Reason.DUPLICATE_HEADER, Reason.OUTCOME_UNKNOWN)
        return
    assert advice.startswith("; ")
    assert "Operator" not in advice
    assert not advice.endswith(".")
    if reason is Reason.EXPIRED:
        assert advice == "; it was closed, or the app ended it; check the app's idle timeout and session limit"


@pytest.mark.parametrize("revision", ["2025-11-25", "2025-06-18"])
async def test_whoever_comes_back_for_a_stream_too_early_keeps_its_place(revision: str) -> None:
    """The TypeScript SDK's clients know it from their last connection alone."""
    headers = [(b"last-event-id", b"YwAA.1.7"), (b"mcp-protocol-version", revision.encode())]
    _, _, body = await refusal(Reason.UNREACHABLE, method="GET", headers=headers)
    [event] = SseParser().feed(body)
    assert (event.id, event.retry_milliseconds) == ("YwAA.1.7", 3000)
    assert (event.data == "") is (revision == "2025-11-25")


@pytest.mark.parametrize("said", [b"", b"two words", b"a\xff", b"x" * 2000])
async def test_what_is_no_event_id_is_not_said_again(said: bytes) -> None:
    _, _, body = await refusal(Reason.UNREACHABLE, method="GET", headers=[(b"last-event-id", said)])
    assert body == b"retry: 3000\n\n"
