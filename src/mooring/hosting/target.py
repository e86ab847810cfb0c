"""TARGET: how `serve` and `up` name the server that Mooring wraps.

A target is `module:attribute` or `path/file.py:attribute`. The attribute is one of

    what                                   recognised by
    SDK v2 `MCPServer`, `Server`           streamable_http_app() that takes streamable_http_path
    SDK v1 `FastMCP`                       streamable_http_app() without arguments, and settings
    FastMCP                                http_app(), which takes path
    an ASGI app                            can be called with scope, receive, send
    a factory of any of these              can be called without arguments

None of those packages is imported here: the target brings its own, whichever generation that is. How a server
object checks Host and Origin stays as its author set it up: a server that has to answer to a name other than
localhost says so itself (`docs/embedding.md`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, Protocol

from mooring.errors import TargetError
from mooring.hosting.importing import import_attribute, where

WANTED: Final = "an ASGI app, a function that makes one, or a server object of the MCP SDK or FastMCP"


class ServingSettings(Protocol):
    """The part of `Settings` that shapes the app."""

    @property
    def main_endpoint(self) -> str:
        """Where the MCP endpoint has to come out."""
        ...


def load_target(text: str, settings: ServingSettings, prepare: Callable[[Any], None] = lambda server: None) -> Any:
    """The ASGI app that `text` names, with its MCP endpoint at `settings.main_endpoint` where Mooring may choose it.

    Args:
        prepare: is called with a server object, before its app is made.

    Raises:
        TargetError: it cannot be imported, or does not serve MCP; one line says which and why.
    """
    return _app_of(text, import_attribute(text), settings.main_endpoint, prepare)


def _app_of(text: str, found: Any, path: str, prepare: Callable[[Any], None], *, made: bool = False) -> Any:
    """The ASGI app of what was found; `made`: by a factory, which may not make another factory."""
    subject = f"what {text}() makes" if made else text
    if inspect.isclass(found) and (_offers(found, "http_app") or _offers(found, "streamable_http_app")):
        raise TargetError(f"{subject} is the class {found.__qualname__}: name a server that was made from it")
    if _offers(found, "http_app") or _offers(found, "streamable_http_app"):
        prepare(found)
    if _offers(found, "http_app"):
        return _made_by(subject, lambda: found.http_app(path=path))
    if _offers(found, "streamable_http_app"):
        return _made_by(subject, lambda: _streamable_http_app(found, path))
    if _is_asgi_app(found):
        return found
    if not made and _takes(found):
        if inspect.iscoroutinefunction(found):
            raise TargetError(f"{subject} is an async function: a factory has to be an ordinary function")
        return _app_of(text, _made_by(text, found), path, prepare, made=True)
    raise TargetError(f"{subject} is {_kind(found)}; wanted: {WANTED}")


def _streamable_http_app(server: Any, path: str) -> Any:
    """SDK v2 takes the path as an argument, v1 keeps it in the server's settings."""
    parameters = inspect.signature(server.streamable_http_app).parameters
    if "streamable_http_path" in parameters:
        return server.streamable_http_app(streamable_http_path=path)
    if _offers(server, "settings", "streamable_http_path"):
        server.settings.streamable_http_path = path
    return server.streamable_http_app()


def _made_by(subject: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except TargetError:
        raise
    except Exception as error:
        raise TargetError(f"making the app of {subject} failed: {where(error)}") from error


def _offers(found: Any, *names: str) -> bool:
    for name in names:
        found = getattr(found, name, None)
    return found is not None


def _is_asgi_app(found: Any) -> bool:
    """Whether `found` takes an ASGI app's three arguments; one that could do without any is a factory, unless async."""
    if inspect.isclass(found) or not _takes(found, "scope", "receive", "send"):
        return False
    call = found if inspect.isroutine(found) else found.__call__
    return not _takes(found) or inspect.iscoroutinefunction(call)


def _takes(found: Any, *arguments: str) -> bool:
    """Whether `found` can be called with this many arguments, by position."""
    try:
        inspect.signature(found).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def _kind(found: Any) -> str:
    """What `found` is, with advice where it is something that people often pass."""
    if inspect.ismodule(found):
        return f"the module {found.__name__}"
    if inspect.isclass(found):
        return f"the class {found.__qualname__}, which needs arguments to make an object"
    kind = type(found)
    name = f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__qualname__
    if _offers(found, "create_initialization_options"):
        return f"of type {name}, which does not serve HTTP by itself (an app around its session manager does)"
    if inspect.isroutine(found):
        return f"a function that takes {str(inspect.signature(found))[:60]}"
    return f"of type {name}"
