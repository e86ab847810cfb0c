"""Deployments behind a real Caddy."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.bare import listening
from tests.deployments.configuration import fill, find_caddy
from tests.ports import free_port


@contextlib.asynccontextmanager
async def running_caddy(urls: Sequence[str], *proxy: str, site: Sequence[str] = ()) -> AsyncIterator[str]:
    """Caddy in front of these nodes. Gives its URL, without a path.

    Args:
        proxy: what `reverse_proxy` is told.
        site: what the site is told beside it.
    """
    program, port = find_caddy(), free_port()
    with tempfile.TemporaryDirectory(prefix="caddy-") as folder:
        configuration = fill(
            "Caddyfile",
            Path(folder),
            port=port,
            site="\n  ".join(site),
            nodes=" ".join(urlsplit(url).netloc for url in urls),
            proxy="\n    ".join(proxy),
        )
        command = [program, "run", "--adapter", "caddyfile", "--config", str(configuration)]
        environment = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        async with listening(command, port, what="caddy", environment=environment):
            yield f"http://127.0.0.1:{port}"
