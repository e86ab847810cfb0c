"""The files of a load balancer, as the nodes come and go.

They are replaced by rename alone: Traefik, which watches its file, was measured to read half of one that is written in
place, and to answer 404 for 0.3 s, which clients read as "your session is gone". And only where their text changed:
each reload costs something everywhere, and makes Traefik take every server for healthy until its next check.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeAlias

from mooring.errors import MooringError
from mooring.files import replace_file
from mooring.ingress.proxy import Files
from mooring.ingress.topology import Topology

logger = logging.getLogger("mooring.ingress")

Reload: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Makes a load balancer read its files again.

Raises:
    MooringError: it could not.
"""

RETRY_SECONDS: Final = 5.0
"""How long after a reload that failed the next one is tried, if nothing changes in between."""


class FollowingFiles:
    """Files that follow the nodes. What is already in them counts: a writer that restarts changes nothing.

    Args:
        texts_of: the files for a topology, in the order in which they have to be written.
    """

    def __init__(self, texts_of: Callable[[Topology], Files]) -> None:
        self._texts_of = texts_of
        self._is_empty_known = False

    def update(self, topology: Topology) -> bool:
        """Make the files say `topology`; returns whether one was replaced.

        A topology without nodes changes nothing. The last one stands, so that the MCP path answers 503 until a node is
        back, not 404.

        Raises:
            ClusterError: the load balancer cannot reach one of the nodes; the files stay as they are.
            OSError: a file cannot be written; the old one stays whole.
        """
        if not topology.backends:
            if not self._is_empty_known:
                logger.warning("no node is alive: the ingress keeps its last configuration; start a node")
            self._is_empty_known = True
            return False
        self._is_empty_known = False
        changed = {file: text for file, text in self._texts_of(topology).items() if text != _text_in(file)}
        for file, text in changed.items():
            replace_file(file, text)
        return bool(changed)


def _text_in(file: Path) -> str | None:
    """None where there is none, or it is in an encoding that we write nothing in."""
    try:
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


async def follow(
    topologies: AsyncIterable[Topology],
    files: FollowingFiles,
    reload: Reload | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Keep the files at the last of `topologies`, and the load balancer at what the files say.

    What fails is reported once, and tried again; that it went well then is reported, too. The first reload comes with
    the first topology, though nothing may have changed: whoever wrote the files before may have ended in between.
    """
    complaint = ""
    due: float | None = None if reload is None else clock()
    async for topology in topologies:
        try:
            if files.update(topology) and reload is not None:
                due = clock()
            if reload is not None and due is not None and topology.backends and clock() >= due:
                due = clock() + RETRY_SECONDS
                await reload()
                due = None
        except (OSError, MooringError) as error:
            if complaint != _without_numbers(str(error)):
                complaint = _without_numbers(str(error))
                logger.warning("the ingress keeps its last configuration: %s", error)
        else:
            if complaint and due is None:
                complaint = ""
                logger.info("the ingress follows the nodes again")


def _without_numbers(text: str) -> str:
    """The same for the same complaint: programs say the time, and which process they are."""
    return re.sub(r"\d+", "", text)
