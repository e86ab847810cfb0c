"""JSON read so that it can be written again: what is not changed means exactly the same to every reader.

Python's own reader forgets how a number was spelled and which names stood twice. Here an object is a list of its
members, and a number is its spelling. Only blanks between the parts are lost.
"""

from __future__ import annotations

import json
from typing import Any, Final


class Members(list[tuple[str, Any]]):
    """An object: its members in their order, doubles too."""

    def all(self, name: str) -> list[Any]:
        """The values of the members of that name."""
        return [value for key, value in self if key == name]


class Spelled(str):
    """A number, as it is spelled."""

    __slots__ = ()


def read(text: str | bytes) -> Any:
    """
    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deep.
    """
    return _DECODER.decode(text if isinstance(text, str) else text.decode())


def write(value: Any) -> str:
    """
    Raises:
        RecursionError: it is nested too deep.
    """
    pieces: list[str] = []
    _write(value, pieces)
    return "".join(pieces)


def all_of(value: Any, name: str) -> list[Any]:
    """The values of the members of that name; none where it is no object."""
    return value.all(name) if isinstance(value, Members) else []


def is_text(value: Any) -> bool:
    return type(value) is str


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=Members, parse_float=Spelled, parse_int=Spelled, parse_constant=Spelled
)
_quoted: Final = json.JSONEncoder(ensure_ascii=False).encode


def _write(value: Any, pieces: list[str]) -> None:
    if isinstance(value, Members):
        pieces.append("{")
        for number, (name, member) in enumerate(value):
            pieces += ("," if number else "", _spelled(name), ":")
            _write(member, pieces)
        pieces.append("}")
    elif isinstance(value, list):
        pieces.append("[")
        for number, member in enumerate(value):
            if number:
                pieces.append(",")
            _write(member, pieces)
        pieces.append("]")
    else:
        pieces.append(value if isinstance(value, Spelled) else _spelled(value))


def _spelled(value: Any) -> str:
    text = _quoted(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell and UTF-8 cannot
        return json.dumps(value)
    return text
