"""Imports what a target names, and says in one line why that cannot be done."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from mooring.errors import TargetError
from mooring.hosting.collector import rarely_collecting

_NOT_THEIRS: Final = (
    "<frozen",
    str(Path(__file__).parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)
_FORM: Final = "write module:attribute or path/file.py:attribute, such as examples/counter.py:server"


def import_attribute(text: str) -> Any:
    """What `text` names: `module:attribute` or `path/file.py:attribute`; the attribute may have dots.

    Raises:
        TargetError: names what is missing or failed, in one line.
    """
    source, colon, attribute = text.rpartition(":")
    if not colon or not source or not attribute:
        raise TargetError(f"target {text!r} does not have the right form: {_FORM}")
    module = _import_file(Path(source)) if _is_file(source) else _import_module(source, Path.cwd())
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise TargetError(f"{source} has no attribute {attribute!r}{_near(part, found)}")
        found = getattr(found, part)
    return found


def where(error: BaseException) -> str:
    """An exception in one line: its type, its message, and the file and line in the user's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_NOT_THEIRS)]
    place = ""
    if isinstance(error, SyntaxError) and error.filename:
        place = f" ({Path(error.filename).name}:{error.lineno})"
    elif own or frames:
        frame = (own or frames)[-1]
        place = f" ({Path(frame.filename).name}:{frame.lineno})"
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    said = " ".join(message.split())
    return f"{type(error).__name__}{': ' if said else ''}{said}{place}"


def _is_file(source: str) -> bool:
    return source.endswith(".py") or "/" in source or "\\" in source


def _import_file(path: Path) -> ModuleType:
    """Imported under the name that it has in its package, as if that package's folder were on the path."""
    file = path.resolve()
    if not file.is_file():
        raise TargetError(f"there is no file {path}")
    folder, names = file.parent, [file.stem]
    while (folder / "__init__.py").is_file():
        folder, names = folder.parent, [folder.name, *names]
    name = ".".join(names)
    module = _import_module(name, folder)
    if Path(getattr(module, "__file__", None) or "").resolve() != file:
        raise TargetError(f"{path} cannot be imported as {name}: that is the name of another module; rename the file")
    return module


def _import_module(name: str, folder: Path) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        with rarely_collecting():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise TargetError(
                f"there is no module {error.name!r} in {folder} or among the installed packages"
            ) from error
        raise TargetError(
            f"importing {name} failed: it needs {error.name!r}, which is not installed: {where(error)}"
        ) from error
    except SystemExit as error:
        raise TargetError(
            f"importing {name} ended the process: {where(error)}; guard it with `if __name__ == ...`"
        ) from error
    except Exception as error:
        raise TargetError(f"importing {name} failed: {where(error)}") from error


def _near(part: str, found: Any) -> str:
    """What may have been meant: objects with a similar name, or else those that exist."""
    public = {name: value for name, value in getattr(found, "__dict__", {}).items() if not name.startswith("_")}
    own = [name for name, value in public.items() if not inspect.ismodule(value) and not inspect.isclass(value)]
    close = difflib.get_close_matches(part, own, n=3)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; it has {', '.join(own[:8])}" if own else ""
