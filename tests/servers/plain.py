"""Tools, prompts and resources that need no request context: one text for all three SDKs.

Every function is written in types that both generations of the official SDK name alike.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Annotated, Any, Final

from mcp.types import AudioContent, CallToolResult, EmbeddedResource, ImageContent, TextContent
from pydantic import Field

from tests.servers import fixtures

AnyFunction = Callable[..., Any]


def test_simple_text() -> str:
    """Answers with one text."""
    return fixtures.SIMPLE_TEXT


def test_image_content() -> list[ImageContent]:
    """Answers with one image."""
    return [ImageContent.model_validate(fixtures.IMAGE_CONTENT)]


def test_audio_content() -> list[AudioContent]:
    """Answers with one sound."""
    return [AudioContent.model_validate(fixtures.AUDIO_CONTENT)]


def test_embedded_resource() -> list[EmbeddedResource]:
    """Answers with one embedded resource."""
    return [EmbeddedResource.model_validate(fixtures.EMBEDDED_CONTENT)]


def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Answers with a text, an image and an embedded resource."""
    text, image, resource = fixtures.MIXED_CONTENTS
    return [
        TextContent.model_validate(text),
        ImageContent.model_validate(image),
        EmbeddedResource.model_validate(resource),
    ]


def test_error_handling() -> CallToolResult:
    """Always fails."""
    return CallToolResult.model_validate({"content": [fixtures.text_content(fixtures.ERROR_TEXT)], "isError": True})


def mirror(
    region: Annotated[
        str, Field(description="Mirrored into Mcp-Param-Region", json_schema_extra={"x-mcp-header": "Region"})
    ] = "nowhere",
) -> str:
    """Answers with an argument that a modern client mirrors into a header."""
    return f"region={region}"


def json_schema_2020_12_tool() -> str:
    """Has an input schema full of JSON Schema 2020-12 keywords."""
    return "accepted"


def where() -> dict[str, Any]:
    """Says which process answers."""
    return {"pid": os.getpid(), "node": os.environ.get("MOORING_NODE_NAME", "")}


def echo(text: str) -> str:
    """Answers with its argument."""
    return text


async def slow(seconds: float) -> str:
    """Answers after a while."""
    await asyncio.sleep(seconds)
    return f"slept {seconds:g} seconds"


# test_simple_text comes first: a scenario calls the first tool of the list with no arguments.
TOOLS: Final[tuple[AnyFunction, ...]] = (
    test_simple_text,
    test_image_content,
    test_audio_content,
    test_embedded_resource,
    test_multiple_content_types,
    test_error_handling,
    mirror,
    slow,
)
# Their tools/call may be sent again after a failure, which their annotations say.
READ_ONLY_TOOLS: Final[tuple[AnyFunction, ...]] = (where, echo)


def test_simple_prompt() -> list[fixtures.Json]:
    """One message, no arguments."""
    return [fixtures.user_message(fixtures.text_content("This is a simple prompt for testing."))]


def test_prompt_with_arguments(arg1: str, arg2: str) -> list[fixtures.Json]:
    """One message with both arguments in it."""
    text = f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"
    return [fixtures.user_message(fixtures.text_content(text))]


def test_prompt_with_embedded_resource(resourceUri: str) -> list[fixtures.Json]:  # noqa: N803 - the suite's name
    """A resource and a message about it."""
    resource = fixtures.resource_content(resourceUri, "text/plain", "Embedded resource content for testing.")
    text = fixtures.text_content("Please process the embedded resource above.")
    return [fixtures.user_message(resource), fixtures.user_message(text)]


def test_prompt_with_image() -> list[fixtures.Json]:
    """An image and a message about it."""
    text = fixtures.text_content("Please analyze the image above.")
    return [fixtures.user_message(fixtures.IMAGE_CONTENT), fixtures.user_message(text)]


PROMPTS: Final[tuple[AnyFunction, ...]] = (
    test_simple_prompt,
    test_prompt_with_arguments,
    test_prompt_with_embedded_resource,
    test_prompt_with_image,
)


def completions(prefix: str) -> list[str]:
    """What a prompt's argument may become, for every prompt alike."""
    return [word for word in ("paris", "park", "party") if word.startswith(prefix)]


def static_text() -> str:
    """A text that never changes."""
    return fixtures.STATIC_TEXT


def static_binary() -> bytes:
    """An image that never changes."""
    return fixtures.PNG


def template(id: str) -> str:
    """A text for each id."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def watched() -> str:
    """A text that can be subscribed to."""
    return fixtures.WATCHED_TEXT


# (URI or URI template, media type, function)
RESOURCES: Final[tuple[tuple[str, str, AnyFunction], ...]] = (
    ("test://static-text", "text/plain", static_text),
    ("test://static-binary", "image/png", static_binary),
    ("test://template/{id}/data", "application/json", template),
    (fixtures.WATCHED_URI, "text/plain", watched),
)
