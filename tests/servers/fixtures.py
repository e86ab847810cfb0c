"""The shared data of the three servers under test: wire-form JSON, no SDK types.

Names, texts and schemas are those that the MCP conformance suite asks of a server; `conformance list
--requirements VERSION` names the scenarios, and each scenario's description says what it calls.
"""

import base64
import struct
import zlib
from typing import Any, Final

Json = dict[str, Any]

SERVER_NAME: Final = "mooring-everything"
SERVER_VERSION: Final = "1.0.0"


def _png_of_one_red_pixel() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def _wav_of_one_silent_sample() -> bytes:
    audio_format = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(audio_format)) + audio_format + b"data" + struct.pack("<IH", 2, 0)
    return b"RIFF" + struct.pack("<I", len(body)) + body


PNG: Final = _png_of_one_red_pixel()
WAV: Final = _wav_of_one_silent_sample()
PNG_BASE64: Final = base64.b64encode(PNG).decode()
WAV_BASE64: Final = base64.b64encode(WAV).decode()

SIMPLE_TEXT: Final = "This is a simple text response for testing."
ERROR_TEXT: Final = "This tool intentionally returns an error for testing"
LOG_LINES: Final = ("Tool execution started", "Tool processing data", "Tool execution completed")
PROGRESS_STEPS: Final = (0, 50, 100)
STEP_SECONDS: Final = 0.05

STATIC_TEXT: Final = "This is the content of the static text resource."
WATCHED_URI: Final = "test://watched-resource"
WATCHED_TEXT: Final = "Watched resource content"


def text_content(text: str) -> Json:
    return {"type": "text", "text": text}


def resource_content(uri: str, mime_type: str, text: str) -> Json:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": text}}


IMAGE_CONTENT: Final[Json] = {"type": "image", "data": PNG_BASE64, "mimeType": "image/png"}
AUDIO_CONTENT: Final[Json] = {"type": "audio", "data": WAV_BASE64, "mimeType": "audio/wav"}
EMBEDDED_CONTENT: Final = resource_content(
    "test://embedded-resource", "text/plain", "This is an embedded resource content."
)
MIXED_CONTENTS: Final = (
    text_content("Multiple content types test:"),
    IMAGE_CONTENT,
    resource_content("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
)


def object_schema(required: tuple[str, ...] = (), **properties: Json) -> Json:
    schema: Json = {"type": "object", "properties": properties}
    return schema | {"required": list(required)} if required else schema


def _titled(**titles: str) -> list[Json]:
    return [{"const": value, "title": title} for value, title in titles.items()]


NAME_SCHEMA: Final = object_schema(("name",), name={"type": "string"})
COLOR_SCHEMA: Final = object_schema(("color",), color={"type": "string"})
CONTEXT_SCHEMA: Final = object_schema(("context",), context={"type": "string"})
CONFIRM_SCHEMA: Final = object_schema(("ok",), ok={"type": "boolean"})

USER_SCHEMA: Final = object_schema(
    ("username", "email"),
    username={"type": "string", "description": "User's response"},
    email={"type": "string", "description": "User's email address"},
)

# SEP-1034: a default for every primitive type.
DEFAULTS_SCHEMA: Final = object_schema(
    name={"type": "string", "default": "John Doe"},
    age={"type": "integer", "default": 30},
    score={"type": "number", "default": 95.5},
    status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    verified={"type": "boolean", "default": True},
)

# SEP-1330: the five ways to write an enumeration.
ENUMS_SCHEMA: Final = object_schema(
    untitledSingle={"type": "string", "enum": ["option1", "option2", "option3"]},
    titledSingle={"type": "string", "oneOf": _titled(value1="First Option", value2="Second Option")},
    legacyEnum={"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    untitledMulti={"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    titledMulti={"type": "array", "items": {"anyOf": _titled(value1="First Choice", value2="Second Choice")}},
)

# SEP-1613 and SEP-2106: keywords of JSON Schema 2020-12 that must reach the client as they are.
JSON_SCHEMA_2020_12: Final[Json] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def user_message(content: Json) -> Json:
    return {"role": "user", "content": content}
