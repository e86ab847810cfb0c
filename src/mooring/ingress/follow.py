"""The dynamic file, as the nodes come and go.

Traefik watches the file. It is replaced by rename alone: a write in place is read half done, and was measured to answer
404 for 0.3 s, which clients read as "your session is gone". It is replaced only where the text changed: each reload
marks every server up until the next health check.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable
from pathlib import Path

from mooring.files import replace_file
from mooring.ingress.topology import Topology
from mooring.ingress.traefik import dump, dynamic_configuration

logger = logging.getLogger("mooring.ingress")


class DynamicFile:
    """The file that Traefik watches. What is already in it counts: a writer that restarts changes nothing."""

    def __init__(self, path: Path, *, secure_cookie: bool = True) -> None:
        self._path = path
        self._secure_cookie = secure_cookie
        self._is_empty_known = False

    def update(self, topology: Topology) -> bool:
        """Make the file say `topology`; returns whether it was replaced.

        A topology without nodes changes nothing. The last one stands, so that the MCP path answers 503 until a node is
        back, not 404.

        Raises:
            OSError: the file cannot be written; the old one stays whole.
        """
        if not topology.backends:
            self._warn_once()
            return False
        self._is_empty_known = False
        text = dump(dynamic_configuration(topology, secure_cookie=self._secure_cookie))
        if text == self._current():
            return False
        replace_file(self._path, text)
        return True

    def _warn_once(self) -> None:
        if not self._is_empty_known:
            logger.warning("no node is alive: %s stays as it is", self._path)
        self._is_empty_known = True

    def _current(self) -> str | None:
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None


async def follow(topologies: AsyncIterable[Topology], file: DynamicFile) -> None:
    """Keep the file at the last of `topologies`. A file that cannot be written is reported once, and tried again."""
    complaint = ""
    async for topology in topologies:
        try:
            file.update(topology)
        except OSError as error:
            if complaint != str(error):
                complaint = str(error)
                logger.warning("the ingress keeps its last configuration: %s", complaint)
        else:
            complaint = ""
