"""Tools and a prompt of the 2026-07-28 revision that ask their client by answering, in rounds (SEP-2322).

Each is a function of one turn: what the client answered so far, and the state that it brought back.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    ClientCapabilities,
    CreateMessageRequest,
    ElicitRequest,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    InputResponse,
    ListRootsRequest,
)

from tests.servers import fixtures
from tests.servers.context_tools import ToolContext


@dataclass(frozen=True)
class Turn:
    answers: dict[str, InputResponse]
    state: str | None
    capabilities: ClientCapabilities

    @classmethod
    def of(cls, ctx: Any) -> "Turn":
        """The turn that a request of either second-generation server is."""
        return cls(
            answers=dict(ctx.input_responses or {}),
            state=ctx.request_state,
            capabilities=ctx.session.client_capabilities or ClientCapabilities(),
        )

    def form(self, key: str) -> dict[str, Any] | None:
        """What the user filled in for one question, if the client answered that question with a form."""
        answer = self.answers.get(key)
        return dict(answer.content or {}) if isinstance(answer, ElicitResult) else None


Answer = str | InputRequiredResult


def _elicit(message: str, schema: fixtures.Json) -> ElicitRequest:
    return ElicitRequest.model_validate({"params": {"message": message, "requestedSchema": schema}})


def _sample(text: str) -> CreateMessageRequest:
    message = fixtures.user_message(fixtures.text_content(text))
    return CreateMessageRequest.model_validate({"params": {"messages": [message], "maxTokens": 100}})


def ask(state: str | None = None, **requests: InputRequest) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests, request_state=state)


def name_question(message: str = "What is your name?") -> ElicitRequest:
    return _elicit(message, fixtures.NAME_SCHEMA)


def elicitation(turn: Turn) -> Answer:
    """Asks the user for a name."""
    form = turn.form("user_name")
    return ask(user_name=name_question()) if form is None else f"Hello, {form.get('name')}!"


def sampling(turn: Turn) -> Answer:
    """Asks the client's model."""
    if "capital_question" not in turn.answers:
        return ask(capital_question=_sample("What is the capital of France?"))
    return "The model has answered."


def list_roots(turn: Turn) -> Answer:
    """Asks for the client's roots."""
    if "client_roots" not in turn.answers:
        return ask(client_roots=ListRootsRequest())
    roots = getattr(turn.answers["client_roots"], "roots", [])
    return f"Roots: {', '.join(str(root.uri) for root in roots)}"


def request_state(turn: Turn) -> Answer:
    """Asks for a confirmation and checks the state that comes back."""
    if turn.form("confirm") is None or turn.state != "confirming":
        return ask("confirming", confirm=_elicit("Please confirm", fixtures.CONFIRM_SCHEMA))
    return "state-ok"


def multiple_inputs(turn: Turn) -> Answer:
    """Asks for three things at a time."""
    if {"user_name", "greeting", "client_roots"} <= turn.answers.keys():
        return "All inputs received."
    return ask(
        "several",
        user_name=name_question(),
        greeting=_sample("Generate a greeting"),
        client_roots=ListRootsRequest(),
    )


def multi_round(turn: Turn) -> Answer:
    """Asks twice, and keeps the first answer in the state."""
    state = json.loads(turn.state or "{}")
    first, second = turn.form("step1"), turn.form("step2")
    if second is not None and "name" in state:
        return f"{state['name']} likes {second.get('color')}."
    if first is not None and state:
        ask_color = _elicit("Step 2: What is your favorite color?", fixtures.COLOR_SCHEMA)
        return ask(json.dumps({"round": 2, "name": first.get("name")}), step2=ask_color)
    return ask(json.dumps({"round": 1}), step1=name_question("Step 1: What is your name?"))


def capabilities(turn: Turn) -> Answer:
    """Asks only for what the client can do."""
    requests: dict[str, InputRequest] = {}
    if turn.capabilities.sampling is not None:
        requests["sample"] = _sample("Say hello")
    if turn.capabilities.elicitation is not None:
        requests["ask"] = name_question()
    return ask("by capability", **requests)


def missing_capability(turn: Turn) -> Answer:
    """Refuses a client that cannot sample."""
    if turn.capabilities.sampling is None:
        raise MCPError(
            code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="This tool needs a client that can sample",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return "The client can sample."


def ask_name(turn: Turn) -> Answer:
    """Asks the user for a name and answers with it."""
    form = turn.form("name")
    return ask(name=name_question()) if form is None else str(form.get("name"))


def sample(text: str, turn: Turn) -> Answer:
    """Answers with what the client's model says to a text."""
    if "sample" not in turn.answers:
        return ask(sample=_sample(text))
    return str(getattr(getattr(turn.answers["sample"], "content", None), "text", None))


def prompt_context(turn: Turn) -> Answer:
    """A prompt that asks the user first."""
    form = turn.form("user_context")
    if form is None:
        return ask(user_context=_elicit("What context should the prompt use?", fixtures.CONTEXT_SCHEMA))
    return f"Use the following context: {form.get('context')}"


PROMPT: Final = "test_input_required_result_prompt"
TOOLS: Final[dict[str, Callable[[Turn], Answer]]] = {
    "test_missing_capability": missing_capability,
    "test_streaming_elicitation": elicitation,
    "test_input_required_result_elicitation": elicitation,
    "test_input_required_result_sampling": sampling,
    "test_input_required_result_list_roots": list_roots,
    "test_input_required_result_request_state": request_state,
    "test_input_required_result_tampered_state": request_state,
    "test_input_required_result_multiple_inputs": multiple_inputs,
    "test_input_required_result_multi_round": multi_round,
    "test_input_required_result_capabilities": capabilities,
}


def as_tool(name: str, take_turn: Callable[[Turn], Answer]) -> Callable[..., Any]:
    """The tool of that name, its context still to be annotated."""

    async def tool(ctx: ToolContext) -> str | InputRequiredResult:
        return take_turn(Turn.of(ctx))

    tool.__name__, tool.__doc__ = name, take_turn.__doc__
    return tool
