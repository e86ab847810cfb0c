"""`mooring up`: Redis, nodes and Traefik as children of this process, until it is asked to stop."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final
from urllib.parse import quote

from rich.console import Console

from mooring.core.model import NodeInfo
from mooring.core.ownership import ClusterView
from mooring.errors import ClusterError, SettingsError, StoreUnavailable, TargetError
from mooring.ingress.follow import FollowingFiles, follow
from mooring.ingress.proxy import Choice
from mooring.ingress.topology import COOKIE, Topology, topology_of
from mooring.ingress.traefik import dump, part, static_configuration
from mooring.local.children import Children
from mooring.local.commands import (
    NODE_GRACE_SECONDS,
    REDIS,
    TRAEFIK,
    node_command,
    redis_command,
    traefik_command,
)
from mooring.local.options import UpOptions
from mooring.local.output import Output
from mooring.local.readiness import ingress_answers, nodes_are_ready, refuses_connections, store_answers
from mooring.local.rundir import RunDir
from mooring.local.runfile import NAME as RUN_FILE
from mooring.local.runfile import RunFile
from mooring.processes.leash import Leash
from mooring.processes.ports import check_free, free_port, from_here, join
from mooring.processes.signals import Stop
from mooring.processes.supervisor import ChildError
from mooring.processes.tasks import end
from mooring.settings import Settings
from mooring.store import open_store
from mooring.store.registry import watch

_PATIENCE_SECONDS: Final = 10.0
"""After each such time, what does not come up yet is named."""

LOOK_SECONDS: Final = 0.3
"""How often the nodes are looked at; Traefik has to follow them within 2 s."""

_TARGET_IS_WRONG: Final = 4
"""The exit code of `mooring serve` where the target is at fault."""

_ABOUT_COOKIES: Final = (
    f"the cookie {COOKIE} is marked secure, so clients do not send it over plain http (--insecure-cookies lets them); "
    "sessions stay on their node without it"
)


async def up(options: UpOptions, console: Console) -> int:
    """Run a cluster until SIGINT, SIGTERM or SIGHUP; a second one kills what is left at once. Returns the exit code.

    Raises:
        ClusterError: it cannot come up: the run directory or the port is in use, a program is missing, a child ended.
        TargetError: the target cannot be imported or started.
        SettingsError: a setting is wrong.
        StoreUnavailable: the Redis that was named does not answer.
    """
    settings = Settings.load()
    if settings.advertise_url is not None:
        raise SettingsError(
            "advertise_url", settings.advertise_url, "not for `mooring up`, where each node has its own"
        )
    output = Output(console, [REDIS, *_node_names(options), TRAEFIK], at_once=options.debug)
    with Stop() as stop, RunDir(options.run_dir) as run_dir:
        output.lost = stop.ask
        check_free(options.host, options.port)
        async with Leash() as leash:
            children = Children(leash, output)
            stop.again = children.kill
            cluster = LocalCluster(options, settings, run_dir, children, output)
            try:
                await cluster.run(stop)
            finally:
                await cluster.stop()
    return 0


class LocalCluster:
    """One cluster: `run`, then `stop`, whatever became of `run`."""

    def __init__(
        self, options: UpOptions, settings: Settings, run_dir: RunDir, children: Children, output: Output
    ) -> None:
        self._options = options
        self._settings = settings
        self._run_dir = run_dir
        self._children = children
        self._output = output
        self._port = options.port or free_port(options.host)
        self._socket = None if options.redis_url else run_dir.socket("redis.sock")
        self._redis_url = options.redis_url or f"unix://{quote(str(self._socket))}"
        self._store = open_store(self._redis_url, settings.key_prefix, settings.redis_timeout_seconds)
        self._await("Redis")
        self._dynamic_path = run_dir.file("traefik-dynamic.yml")
        choice = Choice(secure_cookie=not options.insecure_cookies)
        self._dynamic = FollowingFiles(lambda topology: part(topology, choice, self._dynamic_path))

    @property
    def url(self) -> str:
        """The MCP endpoint at the ingress, as a client on this machine reaches it."""
        return self._origin + self._settings.main_endpoint

    @property
    def _origin(self) -> str:
        return f"http://{join(from_here(self._options.host), self._port)}"

    async def run(self, stop: Stop) -> None:
        """Bring everything up, and keep it up until `stop`."""
        stopping = asyncio.create_task(stop.wait())
        try:
            if await _first(stopping, asyncio.create_task(self._bring_up())):
                following = asyncio.create_task(follow(self._topologies(), self._dynamic))
                await _first(stopping, following, *self._children.keep())
        finally:
            stopping.cancel()

    async def stop(self) -> None:
        """Leave nothing behind."""
        await self._children.stop(refuses_connections(self._options.host, self._port))
        await self._store.aclose()

    async def _bring_up(self) -> None:
        seconds = self._options.start_seconds
        telling = asyncio.create_task(self._tell_what_takes_long())
        try:
            async with asyncio.timeout(seconds):
                await self._start_redis()
                self._await("the nodes")
                view, infos = await self._start_nodes()
                self._await("Traefik")
                await self._start_traefik(view)
        except TimeoutError as error:
            raise ClusterError(
                f"{self._awaited}: not up within --start-seconds {seconds}; {self._children.last_words()}"
            ) from error
        except ChildError as error:
            if error.code == _TARGET_IS_WRONG:
                raise TargetError(str(error)) from error
            raise
        finally:
            await end(telling)
        RunFile(self.url, self._redis_url, self._settings.key_prefix, os.getpid()).write(self._run_dir.file(RUN_FILE))
        self._output.release(_node_names(self._options))
        self._output.nodes(infos, [view.shards_of(info.id) for info in infos])
        self._output.notice(f"ready: {self.url}")
        if not self._options.insecure_cookies:
            self._output.notice(_ABOUT_COOKIES)
        if self._options.hint is not None:
            self._output.notice(self._options.hint.replace("{url}", self.url))

    def _await(self, what: str) -> None:
        """This is what comes up next."""
        self._awaited, self._awaited_since = what, time.monotonic()

    async def _tell_what_takes_long(self) -> None:
        while True:
            await asyncio.sleep(_PATIENCE_SECONDS)
            seconds = time.monotonic() - self._awaited_since
            self._output.notice(f"waiting for {self._awaited}, {seconds:.0f} s by now; {self._children.last_words()}")

    async def _start_redis(self) -> None:
        """Our own Redis is waited for; one that was named has to be there."""
        if self._socket is None:
            await self._store.snapshot()
        else:
            await self._children.start(redis_command(self._socket))
            await self._children.unless_one_ends(store_answers(self._store))

    async def _start_nodes(self) -> tuple[ClusterView, list[NodeInfo]]:
        secret = self._settings.secret.get_secret_value() if self._settings.secret else secrets.token_hex(32)
        commands = [
            node_command(
                name,
                self._options.target,
                self._redis_url,
                secret,
                self._settings.most_stop_seconds(NODE_GRACE_SECONDS),
                debug=self._options.debug,
            )
            for name in _node_names(self._options)
        ]
        pids = {command.name: (await self._children.start(command)).pid for command in commands}
        return await self._children.unless_one_ends(nodes_are_ready(self._store, pids))

    async def _start_traefik(self, view: ClusterView) -> None:
        self._dynamic.update(topology_of(view, self._settings))
        admin = join("127.0.0.1", free_port())
        static = static_configuration(
            address=join(self._options.host, self._port),
            admin_address=admin,
            dynamic_file=str(self._dynamic_path),
            api=True,
            reuse_port=False,
            grace_seconds=NODE_GRACE_SECONDS + 1,
            log_level="ERROR",
        )
        static_path = self._run_dir.file("traefik-static.yml")
        static_path.write_text(dump(static), encoding="utf-8")
        await self._children.start(traefik_command(static_path))
        await self._children.unless_one_ends(
            ingress_answers(self._origin + self._settings.ready_path, f"http://{admin}")
        )

    async def _topologies(self) -> AsyncIterator[Topology]:
        """As the registry sees it, without those that we have seen end; and the registry is told of these."""
        views = watch(
            self._store,
            every_seconds=LOOK_SECONDS,
            grace_seconds=self._settings.lease_seconds,
            sleep=self._children.until_one_ends,
        )
        async for view in views:
            for info in view.alive():
                child = (info.name, info.pid)
                if child in self._children.dead:
                    view = view.without(info.id)
                    with suppress(StoreUnavailable):  # it is told at the next look
                        await self._store.bury(info.id)
                        self._children.dead.discard(child)
            yield topology_of(view, self._settings)


def _node_names(options: UpOptions) -> list[str]:
    return [f"node-{number}" for number in range(1, options.nodes + 1)]


async def _first(stopping: asyncio.Task[None], *others: asyncio.Task[None]) -> bool:
    """Wait until one of them is done, and end `others`. Returns whether it was one of these; raises what it raised."""
    await asyncio.wait([stopping, *others], return_when=asyncio.FIRST_COMPLETED)
    done = [task for task in others if task.done()]
    await end(*others)
    for task in done:
        task.result()
    return bool(done)
