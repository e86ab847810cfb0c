"""The load generator, a process of its own: `python -m benchmarks.load`.

Reads one job as a line of JSON from standard input, runs it, writes one line of JSON. Each connection sends its
request again as soon as the answer to the one before is whole (a closed loop). Built on httptools and a bare
protocol, so that it costs a fraction of what any server does.

    job      {"requests": [[port, text], ...], "seconds": s, "calls": n, "expect": text}
             one connection per request; it ends after `seconds`, or after `calls` in all where that is not 0
    answer   {"seconds": s, "latencies_ms": [one for each call]}, or {"error": text}
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import httptools
import uvloop


@dataclass
class Job:
    """What all connections of one job share."""

    ends_at: float
    calls_left: int
    expect: bytes
    latencies: list[float] = field(default_factory=list)
    ended_at: float = 0.0

    def wants_another(self, now: float) -> bool:
        if self.calls_left == 0 or now >= self.ends_at:
            return False
        self.calls_left -= 1
        return True


class Caller(asyncio.Protocol):
    """One connection. It is also what the parser of its answers calls back."""

    def __init__(self, job: Job, request: bytes) -> None:
        self._job = job
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._answer = bytearray()
        self._sent_at = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send_next(time.perf_counter())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"the server closed the connection: {exc}"))

    def on_body(self, body: bytes) -> None:
        self._answer += body

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        job = self._job
        job.latencies.append(now - self._sent_at)
        status = self._parser.get_status_code()
        if status != 200 or job.expect not in self._answer:
            self.done.set_exception(RuntimeError(f"answered {status}: {bytes(self._answer[:300])!r}"))
            self._transport.abort()
            return
        self._answer.clear()
        self._send_next(now)

    def _send_next(self, now: float) -> None:
        if self._job.wants_another(now):
            self._sent_at = now
            self._transport.write(self._request)
            return
        self._job.ended_at = max(self._job.ended_at, now)
        self.done.set_result(None)
        self._transport.close()


async def run(order: dict[str, Any]) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    job = Job(started + order["seconds"], order["calls"] or -1, order["expect"].encode())
    callers: list[Caller] = []
    for port, text in order["requests"]:
        request = text.encode("latin-1")
        _, caller = await loop.create_connection(lambda request=request: Caller(job, request), "127.0.0.1", port)  # type: ignore[misc]
        callers.append(caller)
    await asyncio.gather(*(caller.done for caller in callers))
    return {
        "seconds": job.ended_at - started,
        "latencies_ms": [round(latency * 1000, 4) for latency in job.latencies],
    }


def main() -> None:
    for line in sys.stdin:
        try:
            answer = uvloop.run(run(json.loads(line)))
        except (RuntimeError, OSError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
