"""A server's own ids in its answers, as handles; and what the server is told when they come back.

    where in a message                             the server's id there
    ---------------------------------------------  -----------------------------------------------------------------
    `structuredContent`, at the rule's field       is wrapped, and is then known in this answer
    a text that is JSON, at the rule's field       the same
    a text in JSON that is JSON again              the same, with ids that are known
    a text, where the rule's field is ""           the whole of it is wrapped, unless it is an error's
    any other text, or text in `structuredContent` is wrapped where it is known and stands by itself, in longer text too
    the name of a member in one of these           the same
    an error's message; what progress says         the same
    the outcome of a task, wherever that is told   the same
    a prompt; a resource's text and URI            the same
    what is proposed (completion), or asked for    the same
    `taskId`, of each task in a list too           is wrapped, where the settings say so
    `nextCursor` of a list of tasks                the same: it leads to the process that has that list
    `requestState`                                 the same
    a URL (http, ws) in a text: people open them   stays as it is
    images, sound, blobs, `_meta`, a block's name  stays as it is

An id that the server was told in this very request is known from the start. One of less than six characters, or of
letters alone as a word is (`default`), is wrapped only where it is a field's whole value. One that has letters that a
URI cannot have is found there in percents as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from mooring.core import exact_json
from mooring.core.exact_json import Members, Spelled, is_text
from mooring.core.handles import is_meant
from mooring.core.known_ids import LEAST_LETTERS, KnownIds, in_percents, out_of_percents

ANY: Final = "*"
"""In a field's path: each member of a list."""

TASK: Final = "taskId"
CURSOR: Final = "cursor"
"""What asks for the next part of a list."""

_TASKS: Final = "tasks"
_NEXT: Final = "nextCursor"
_ALONE: Final = "result"
_LONGEST_WORD: Final = 20
_SPELLED: Final = re.compile(r"\\[u/bfnrt]")
"""What some writers of JSON need not escape and do: `/` (PHP), `=` and `&` (Gson, Go), what is not ASCII (Python). And
escapes that end in a letter: an id behind one stands by itself, and does not seem to."""
_OF_BLOCKS: Final = ("content", "messages", "contents")
_OF_TEXT: Final = ("description", "completion", "inputRequests")
_OF_NOTIFICATIONS: Final = ("message", "data", "statusMessage", "inputRequests", "notifications")

Wrap = Callable[[str], str | None]


class Wrapping:
    """What one answer's messages become.

    Args:
        wrap: makes a handle of a server's id; None where that cannot be.
        fields: of the rules for the tool that was called.
        known: own ids that the server was told, and the handles that they came in.
        members: names of members of a result whose texts are ids: `taskId`, `requestState`.
        tell: is told why an id stays the server's own.
    """

    def __init__(
        self,
        wrap: Wrap,
        fields: tuple[str, ...] = (),
        known: Mapping[str, str] | None = None,
        members: tuple[str, ...] = (),
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._wrap = wrap
        self._tell = lru_cache(tell)  # the same of many is said once
        self._fields = fields
        self._places = [place for field in fields for place in _places_of(field)]
        self._known = self._with_what_they_spell(known or {})
        self._members = members
        self._is_changed = False
        # What finds the known ids, by whether it is in a resource's URI; and whether some are hidden in JSON. Until
        # others are known.
        self._insides: dict[bool, KnownIds] = {}
        self._hides: bool | None = None

    def _with_what_they_spell(self, known: Mapping[str, str]) -> dict[str, str]:
        """These, and of those that are in percents the ids themselves: a server reads them so in a URI."""
        read = {own_id: out_of_percents(own_id) for own_id in known if "%" in own_id}
        plain = {one for own_id, one in read.items() if own_id in in_percents(one)} - known.keys()
        return {**{own_id: handle for own_id in plain if (handle := self._handle_of(own_id)) is not None}, **known}

    def message(self, text: str) -> str | None:
        """The message with handles in it; None where it stays as it is, since it is no JSON, too."""
        self._is_changed = False
        try:
            message = exact_json.read(text)
            changed = self._message(message) if isinstance(message, Members) else self._batch(message)
            return exact_json.write(changed) if self._is_changed else None
        except ValueError:
            return None
        except RecursionError:
            self._tell("its answer is nested too deep to be looked through")
            return None

    def _batch(self, messages: Any) -> Any:
        """The answers to a batch (revision 2025-03-26)."""
        if not isinstance(messages, list):
            return messages
        return [self._message(one) if isinstance(one, Members) else one for one in messages]

    def _message(self, message: Members) -> Members:
        for result in _results_of(message):
            self._learn(result)
        self._insides, self._hides = {}, None
        parts: dict[str, Callable[[Any], Any]] = {
            "result": self._result,
            "error": self._everywhere,
            "params": self._params,
        }
        return Members((name, parts[name](value) if name in parts else value) for name, value in message)

    def _learn(self, result: Members) -> None:
        """The ids that the rules' fields hold. The whole text of an error says why there is none."""
        is_error = True in result.all("isError")
        for field in self._fields:
            if is_error and not field:
                continue
            path = field.split(".") if field else []
            values = (
                [] if not path else [one for member in result.all("structuredContent") for one in _at(member, path)]
            )
            for text in _texts_of(result):
                if not path:
                    values.append(_said_alone(text))
                elif text.lstrip()[:1] in ("{", "["):
                    values += _at(_parsed(text), path)
            for own_id in values:
                if isinstance(own_id, Spelled):
                    self._tell("it is a number, and its tool takes no text for it")
                elif is_text(own_id) and own_id not in self._known and not is_meant(own_id):
                    handle = self._handle_of(own_id)
                    if handle is not None:
                        self._known[own_id] = handle

    def _result(self, result: Any) -> Any:
        if not isinstance(result, Members):
            return result
        if TASK in self._members and result.all(_TASKS):
            result = Members((name, self._next(value) if name == _NEXT else value) for name, value in result)
        return Members((name, self._in_result(name, value)) for name, value in result)

    def _next(self, cursor: Any) -> Any:
        """Of a list of tasks, which goes on in the process that has begun it (specification 2025-11-25, Tasks)."""
        return self._wrapped(cursor) if is_text(cursor) else cursor

    def _in_result(self, name: str, value: Any) -> Any:
        if name in self._members and is_text(value):
            return self._wrapped(value)
        if name == "structuredContent":
            return self._structured(value)
        if name in _OF_BLOCKS:
            return self._block(value)
        if name in _OF_TEXT:
            return self._everywhere(value)
        if name in ("result", "error"):
            return self._outcome(name, value)
        if name == "task":
            return self._params(value)
        if name == _TASKS and isinstance(value, list) and not isinstance(value, Members):
            return [self._params(one) for one in value]
        return value

    def _outcome(self, name: str, value: Any) -> Any:
        """How a task has ended: what its call would have been answered."""
        return self._result(value) if name == "result" else self._everywhere(value)

    def _params(self, params: Any) -> Any:
        """Of a notification: what it says of progress, and of which task."""
        if not isinstance(params, Members):
            return params
        return Members((name, self._param(name, value)) for name, value in params)

    def _param(self, name: str, value: Any) -> Any:
        if name in self._members and is_text(value):
            return self._wrapped(value)
        if name in ("result", "error"):
            return self._outcome(name, value)
        if name == "uri":
            return self._uri(value)
        return self._everywhere(value) if name in _OF_NOTIFICATIONS else value

    def _uri(self, value: Any) -> Any:
        """Of a resource: clients give it back (`resources/read`), whatever its scheme."""
        return self._text(value, in_uri=True) if is_text(value) else value

    def _block(self, block: Any) -> Any:
        """One of a tool's result, of a prompt's messages, or of a resource's contents."""
        if isinstance(block, Members):
            return Members((name, self._in_block(name, value)) for name, value in block)
        return [self._block(one) for one in block] if isinstance(block, list) else block

    def _in_block(self, name: str, value: Any) -> Any:
        if name in ("resource", "content"):
            return self._block(value)
        if name == "uri":
            return self._uri(value)
        if name not in ("text", "title", "description"):
            return value
        return self._said(value) if is_text(value) else self._everywhere(value)

    def _said(self, text: str) -> str:
        """A text of a block, the whole of which may be an id."""
        said = _said_alone(text) if [] in self._places else ""
        if (handle := self._known.get(said)) is None:
            return self._text(text)
        spelled = text.strip()
        return self._changed(text.replace(spelled, handle if spelled == said else exact_json.write(handle)))

    def _structured(self, value: Any) -> Any:
        value = self._everywhere(value)
        for place in self._places:
            value = self._replaced_at(value, place)
        return value

    def _everywhere(self, value: Any) -> Any:
        """Known ids in all the texts of a value."""
        if is_text(value):
            return self._text(value)
        if isinstance(value, Members):
            return Members((self._found_in(name), self._everywhere(member)) for name, member in value)
        return [self._everywhere(member) for member in value] if isinstance(value, list) else value

    def _text(self, text: str, *, in_uri: bool = False) -> str:
        is_json = not in_uri and text.lstrip()[:1] in ("{", "[")
        if not is_json or not self._has_hidden():
            text = self._found_in(text, in_uri=in_uri)
        return self._json(text) if is_json and (self._has_hidden() or _SPELLED.search(text)) else text

    def _json(self, text: str) -> str:
        """A text that is JSON, in whose own texts ids are spelled differently; as it is, where it has none."""
        try:
            parsed = exact_json.read(text)
            changed = self._everywhere(parsed)
            for place in self._places:
                changed = self._replaced_at(changed, place)
            return text if changed == parsed else exact_json.write(changed)
        except (ValueError, RecursionError):  # it is none, or nested too deep
            return self._found_in(text)

    def _found_in(self, text: str, *, in_uri: bool = False) -> str:
        """The text with handles in it."""
        if in_uri not in self._insides:
            self._insides[in_uri] = KnownIds(self._spelled(), in_uri=in_uri)
        found = self._insides[in_uri].replaced(text)
        self._is_changed = self._is_changed or found != text
        return found

    def _spelled(self) -> dict[str, str]:
        """The handles of the known ids that may stand in longer text, by how they stand there. One that stands in
        percents becomes a handle of its own, so that what comes back is what the server wrote."""
        handles = {own_id: handle for own_id, handle in self._known.items() if _is_no_word(own_id)}
        for spelled in {one for own_id in handles for one in in_percents(own_id)} - handles.keys():
            handle = self._handle_of(spelled)
            if handle is not None:
                handles[spelled] = handle
        return handles

    def _has_hidden(self) -> bool:
        """Whether there are ids that are not found in the text of JSON: words, or spelled differently there by all."""
        if self._hides is None:
            self._hides = any(not _is_no_word(own_id) or json.dumps(own_id)[1:-1] != own_id for own_id in self._known)
        return self._hides

    def _replaced_at(self, value: Any, path: list[str]) -> Any:
        if not path:
            return self._changed(self._known[value]) if is_text(value) and value in self._known else value
        name, rest = path[0], path[1:]
        if isinstance(value, Members):
            return Members((key, self._replaced_at(one, rest) if key == name else one) for key, one in value)
        if isinstance(value, list) and name == ANY:
            return [self._replaced_at(one, rest) for one in value]
        return value

    def _wrapped(self, own_id: str) -> str:
        if is_meant(own_id):
            return own_id
        handle = self._known.get(own_id) or self._handle_of(own_id)
        return own_id if handle is None else self._changed(handle)

    def _handle_of(self, own_id: str) -> str | None:
        handle = self._wrap(own_id)
        if handle is None and own_id:
            self._tell(f"{len(own_id):,} letters are too many for a handle, or they are no text")
        return handle

    def _changed(self, text: str) -> str:
        self._is_changed = True
        return text


def _is_no_word(own_id: str) -> bool:
    """Whether nothing else looks like it in longer text."""
    return len(own_id) >= LEAST_LETTERS and not (own_id.isalpha() and len(own_id) <= _LONGEST_WORD)


def _places_of(field: str) -> list[list[str]]:
    """Where a field's value stands. What a tool returns that is no object is `result` in its structured content, and is
    itself in its text, or each of a list in one of its own (SDK v2, FastMCP)."""
    path = field.split(".") if field else []
    if not path:
        return [[], [_ALONE], [_ALONE, ANY]]
    if path[0] == ANY:
        return [path, [_ALONE, *path], path[1:]]
    if path[0] == _ALONE:
        return [path, path[1:], *([path[2:]] if path[1:2] == [ANY] else [])]
    return [path]


def _results_of(message: Members) -> list[Members]:
    """The result in a message, and that of a task of which it tells."""
    told = [one for name in ("result", "params") for one in message.all(name) if isinstance(one, Members)]
    ended = [one for each in told for one in each.all("result") if isinstance(one, Members)]
    return [one for one in message.all("result") if isinstance(one, Members)] + ended


def _texts_of(result: Members) -> list[str]:
    """The texts of its content, those of resources too."""
    blocks = [block for content in result.all("content") if isinstance(content, list) for block in content]
    blocks += [one for block in blocks if isinstance(block, Members) for one in block.all("resource")]
    return [text for block in blocks if isinstance(block, Members) for text in block.all("text") if is_text(text)]


def _at(value: Any, path: list[str]) -> list[Any]:
    """What stands at a path."""
    found = [value]
    for name in path:
        found = [
            member
            for one in found
            for member in (
                one.all(name) if isinstance(one, Members) else one if isinstance(one, list) and name == ANY else []
            )
        ]
    return found


def _said_alone(text: str) -> str:
    """What a whole text says: SDK v2 writes what is neither text nor object, such as a UUID, in quotes, and programs
    end a line."""
    stripped = text.strip()
    said = _parsed(stripped) if stripped[:1] == '"' else stripped
    return said if is_text(said) else stripped


def _parsed(text: str) -> Any:
    try:
        return exact_json.read(text)
    except (ValueError, RecursionError):
        return None
