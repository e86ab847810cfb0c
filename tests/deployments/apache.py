"""Deployments behind a real Apache, which balances with mod_proxy_balancer."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.bare import listening
from tests.deployments.configuration import check, fill, find
from tests.ports import free_port

_MODULES: Final = (
    *("mpm_event", "authz_core", "proxy", "proxy_http", "proxy_balancer", "lbmethod_byrequests", "slotmem_shm"),
    *("headers", "deflate", "filter", "setenvif"),
)
_FOLDER: Final = "/usr/lib/apache2/modules"


@contextlib.asynccontextmanager
async def running_apache(urls: Sequence[str], *lines: str) -> AsyncIterator[str]:
    """Apache in front of these nodes, in turn, with more lines of configuration. Gives its URL, without a path."""
    program, port = find("apache2"), free_port()
    with tempfile.TemporaryDirectory(prefix="apache-") as folder:
        configuration = fill(
            "apache.conf",
            Path(folder),
            root=folder,
            modules="\n".join(f"LoadModule {name}_module {_FOLDER}/mod_{name}.so" for name in _MODULES),
            port=port,
            nodes="\n".join(
                f"  BalancerMember http://{urlsplit(url).netloc} route=node-{number}"
                for number, url in enumerate(urls, 1)
            ),
            more="\n".join(lines),
        )
        command = [program, "-f", str(configuration)]
        await check(*command, "-t")
        async with listening([*command, "-X"], port, what="apache"):
            yield f"http://127.0.0.1:{port}"
