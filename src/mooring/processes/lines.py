"""What a child process writes, as lines that are safe to show.

It is foreign text: escape sequences could recolour, clear or retitle the operator's terminal, and a line without an
end could fill the memory.
"""

from __future__ import annotations

import codecs
from typing import Final

from mooring.core.text import clean

LONGEST_LINE: Final = 4_000


class Lines:
    """Cuts bytes, as they come, into clean lines. A longer one is shown in pieces of `LONGEST_LINE` characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes, *, final: bool = False) -> list[str]:
        """The lines that are complete now. `final`: the child has closed its end, so what is left is one too."""
        whole = (self._rest + self._decoder.decode(data, final)).replace("\r\n", "\n")
        *complete, self._rest = whole.split("\n")
        if final or len(self._rest) >= LONGEST_LINE:
            complete.append(self._rest)
            self._rest = ""
        return [piece for line in complete for piece in _pieces(clean(line))]


def _pieces(line: str) -> list[str]:
    """An empty line gives nothing: it would be a prefix with nothing behind it."""
    return [line[start : start + LONGEST_LINE] for start in range(0, len(line), LONGEST_LINE)]
