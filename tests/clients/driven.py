"""A client that does what standard input says, and says on standard output what it sees: a JSON object a line, each.

    it is told                                it says
    ----------------------------------------  ----------------------------------------------------------------------
    nothing                                   {"saw": "open", "session": ID} or {"saw": "no session", "error": TEXT}
    {"call": TOOL, "arguments": {…}, "id"}    {"saw": "progress", "id", "progress": N}, and then
                                              {"saw": "answer", "id", "text"}, or
                                              {"saw": "error", "id", "error", "reason"}
    {"user": "leaves"} or {"user": "comes"}   nothing: while the user is away, no question is answered
    {"close": true}                           {"saw": "closed", "status": of the answer to DELETE}, and ends
    nothing                                   {"saw": "updated", "uri"} where the server says so by itself

Standard library only: every client uses it.
"""

import asyncio
import json
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, NoReturn

from tests.clients.report import describe

_CONNECT_SECONDS = 180.0


def say(saw: str, **what: Any) -> None:
    print(json.dumps({"saw": saw, **what}), flush=True)


def _reason(error: BaseException) -> str | None:
    data = getattr(getattr(error, "error", None), "data", None)
    return data.get("reason") if isinstance(data, dict) else None


async def _call(client: Any, order: dict[str, Any]) -> None:
    async def on_progress(progress: float) -> None:
        say("progress", id=order["id"], progress=progress)

    try:
        say("answer", id=order["id"], text=await client.call(order["call"], order["arguments"], on_progress))
    except Exception as error:
        say("error", id=order["id"], error=describe(error), reason=_reason(error))


async def _orders() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _tell_of_updates(updated_uris: asyncio.Queue[str]) -> None:
    while True:
        say("updated", uri=await updated_uris.get())


async def _obey(connect: Callable[[Any], Any], visit: Any) -> None:
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                client = await stack.enter_async_context(connect(visit))
        except Exception as error:
            say("no session", error=describe(error))
            return
        say("open", session=visit.wire.session_id)
        tasks = [asyncio.create_task(_tell_of_updates(visit.updated_uris))]
        orders = await _orders()
        while line := await orders.readline():
            order = json.loads(line)
            if "call" in order:
                tasks.append(asyncio.create_task(_call(client, order)))
            elif "user" in order:
                visit.user_is_there.set() if order["user"] == "comes" else visit.user_is_there.clear()
            else:
                break
    say("closed", status=visit.wire.delete_status)


def run_driven(connect: Callable[[Any], Any], visit: Any) -> NoReturn:
    warnings.simplefilter("ignore")

    async def run() -> NoReturn:
        try:
            await _obey(connect, visit)
        except BaseException as error:
            say("died", error=describe(error))
        # Some clients ignore their cancellation; closing the loop would wait for them.
        os._exit(0)

    asyncio.run(run())
    raise AssertionError("unreachable")
