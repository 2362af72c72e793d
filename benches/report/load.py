"""Load on an HTTP server: clients that wait for their answers, and arrivals that wait for nobody.

One thread, prepared requests, answers that are hardly looked at: on a small machine the generator takes its
share of the processor. Where requests cost microseconds, wrk is used instead (sections/overhead.py).
"""

import asyncio
import itertools
import json
import random
import time
from dataclasses import dataclass, field

from .figures import percentile


def post(path, body, content_type="application/json"):
    """A whole HTTP request."""
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass
class Load:
    """What a load met with. Latencies in seconds, of requests that were answered with 200."""

    seconds: float = 0
    latencies: list = field(default_factory=list)
    # By status; 0: no answer in time, or none at all.
    others: dict = field(default_factory=dict)

    @property
    def rate(self):
        return len(self.latencies) / self.seconds

    def percentile(self, share):
        return percentile(self.latencies, share)

    def as_json(self):
        milliseconds = lambda share: 1000 * self.percentile(share) if self.latencies else None  # noqa: E731
        return {
            "seconds": self.seconds, "answered": len(self.latencies), "rate": self.rate, "others": self.others,
            "p50_ms": milliseconds(0.5), "p95_ms": milliseconds(0.95), "p99_ms": milliseconds(0.99),
        }

    def count(self, status, latency):
        if status == 200:
            self.latencies.append(latency)
        else:
            self.others[str(status)] = self.others.get(str(status), 0) + 1


class Connection:
    """Kept open where the server lets it."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def ask(self, request):
        """The answer's status and body."""
        reused = self.writer is not None
        try:
            return await self.ask_once(request)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.close()
            if not reused:
                raise
            return await self.ask_once(request)

    async def ask_once(self, request):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(request)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        body = await self.reader.readexactly(length)
        if head.startswith(b"http/1.0") or b"connection: close" in head:
            self.close()
        return int(head[9:12]), body

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


def closed_loop(port, requests, clients, seconds, settle=0.5, per_client=2):
    """So many clients, each sending its next request when it has the answer to the last: all of a list again and
    again, or whatever comes next from an endless iterator, which no other client sends.

    Runs for `seconds` after it has settled, or longer: until there were `per_client` answers for each client.
    """
    return asyncio.run(_closed_loop(port, requests, clients, seconds, settle, per_client))


async def _closed_loop(port, requests, clients, seconds, settle, per_client):
    load, ended = Load(), False
    begin = time.perf_counter() + settle

    async def client(number):
        connection = Connection(port)
        endless = requests if hasattr(requests, "__next__") else itertools.islice(itertools.cycle(requests), number, None)
        for request in endless:
            asked = time.perf_counter()
            status, _ = await connection.ask(request)
            now = time.perf_counter()
            if ended:
                break
            if now >= begin:
                load.count(status, now - asked)
        connection.close()

    tasks = [asyncio.create_task(client(number)) for number in range(clients)]
    longest = begin + max(10 * seconds, 60)
    while not ended:
        await asyncio.sleep(0.01)
        for task in tasks:
            if task.done() and task.exception():
                ended = True
        now = time.perf_counter()
        enough = len(load.latencies) + sum(load.others.values()) >= per_client * clients
        ended = ended or now >= longest or (now - begin >= seconds and enough)
    load.seconds = time.perf_counter() - begin
    done, pending = await asyncio.wait(tasks, timeout=60)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()
    return load


def open_loop(port, requests, rate, seconds, seed=1, patience=20):
    """Arrivals at random times (Poisson) of a given mean rate, whether or not earlier ones were answered.

    A latency counts from the moment for which the request was scheduled: what a late generator or a server
    that stands still delays is in it. What is not answered `patience` seconds after the last arrival counts
    as not answered.
    """
    return asyncio.run(_open_loop(port, requests, rate, seconds, seed, patience))


async def _open_loop(port, requests, rate, seconds, seed, patience):
    source, load, idle, tasks = random.Random(seed), Load(), [], set()
    begin = time.perf_counter() + 0.1

    async def arrival(request, scheduled):
        connection = idle.pop() if idle else Connection(port)
        try:
            status, _ = await connection.ask(request)
        except (OSError, asyncio.IncompleteReadError):
            status = 0
            connection.close()
        load.count(status, time.perf_counter() - scheduled)
        idle.append(connection)

    scheduled, number = begin, 0
    while (scheduled := scheduled + source.expovariate(rate)) < begin + seconds:
        await asyncio.sleep(max(0, scheduled - time.perf_counter()))
        task = asyncio.create_task(arrival(requests[number % len(requests)], scheduled))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
    if tasks:
        _, pending = await asyncio.wait(set(tasks), timeout=patience)
        for task in pending:
            task.cancel()
        if pending:
            load.others["0"] = load.others.get("0", 0) + len(pending)
            await asyncio.gather(*pending, return_exceptions=True)
    for connection in idle:
        connection.close()
    load.seconds = seconds
    return load


def run_through(port, requests, clients):
    """All the requests of an iterable, shared among clients."""
    return asyncio.run(_run_through(port, iter(requests), clients))


async def _run_through(port, requests, clients):
    load, begin = Load(), time.perf_counter()

    async def client():
        connection = Connection(port)
        for request in requests:
            asked = time.perf_counter()
            status, _ = await connection.ask(request)
            load.count(status, time.perf_counter() - asked)
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    load.seconds = time.perf_counter() - begin
    return load
