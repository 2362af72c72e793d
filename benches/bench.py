"""Measures the service beside plain ONNX Runtime and prints a table of ratios; see benches/run.

All contenders are alive at once and take turns, so that whatever else the machine does hits them alike. What
counts is the median of the ratios of neighbouring turns. Milliseconds are printed for orientation only.
"""

import argparse
import asyncio
import base64
import http.client
import itertools
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus
from PIL import Image

HERE = Path(__file__).resolve().parent
PROMPTS = [
    "a photo of a cat", "a photo of a dog", "an empty shelf", "a stocked shelf", "a person riding a bicycle",
    "the night sky with a full moon", "sunrise over the sea", "a snowy mountain", "a house with a red roof",
    "a tree in a green field", "a crowded street at night", "a bowl of fruit on a table", "two children playing",
    "a train leaving the station", "a black and white portrait", "an aerial view of a city", "a cup of coffee",
    "a bird in flight", "a handwritten letter", "a screenshot of a web page",
]
CLIENTS = 4


class Worker:
    """A program that answers JSON lines."""

    def __init__(self, *command):
        started = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.opened = self.answer()["seconds"]
        self.start_up = time.perf_counter() - started

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} stopped with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, command):
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return self.answer()

    def seconds(self, command):
        return self.ask(command)["seconds"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Daemon:
    """The service on a message bus and a port of its own."""

    def __init__(self, program, bundle, bus, threads):
        self.folder = tempfile.TemporaryDirectory()
        config = Path(self.folder.name) / "hailo-clip.yaml"
        config.write_text(
            "server: {host: 127.0.0.1, port: 0}\n"
            f"clip: {{model: {bundle.name}, backend: cpu}}\n"
            f"performance: {{inference_threads: {threads}, worker_threads: {threads}}}\n"
        )
        command = [program, "--config", config, "--bus", bus, "--models-dir", bundle.parent]
        started = time.perf_counter()
        environment = os.environ | {"NO_COLOR": "1"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.port = None
        for line in self.process.stderr:
            if address := re.search(r'listening.*http="?127\.0\.0\.1:(\d+)', line):
                self.port = int(address[1])
            if "model loaded" in line:
                break
        else:
            raise SystemExit(f"the daemon stopped with status {self.process.wait()}")
        self.start_up = time.perf_counter() - started
        # A full pipe would block the daemon.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def memory(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        field = lambda name: int(re.search(rf"{name}:\s+(\d+)", status)[1])  # noqa: E731
        return {"peak": field("VmHWM"), "anonymous": field("RssAnon"), "files": field("RssFile")}

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


class Http:
    """One connection, kept open."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def post(self, path, body):
        self.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {content[:200]!r}")
        return json.loads(content)


class DBus:
    """One connection to the message bus, kept open."""

    def __init__(self, address):
        self.loop = asyncio.new_event_loop()

        async def connect():
            return await MessageBus(address, negotiate_unix_fd=True).connect()

        self.bus = self.loop.run_until_complete(connect())

    async def call_async(self, member, signature, body, descriptors=()):
        answer = await self.bus.call(
            Message(
                destination="org.hailo.Clip1", path="/org/hailo/Clip1", interface="org.hailo.Clip1", member=member,
                signature=signature, body=body, unix_fds=list(descriptors),
            )
        )
        if answer.message_type != MessageType.METHOD_RETURN:
            raise SystemExit(f"{member}: {answer.error_name} {answer.body}")
        return answer.body

    def call(self, *arguments):
        return self.loop.run_until_complete(self.call_async(*arguments))


@contextmanager
def message_bus():
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def timed(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Report:
    """Rows of: what, ours, ONNX Runtime's, ratio."""

    def __init__(self):
        self.rows = []

    def add(self, what, ours, peer, unit, ratios=None):
        """Medians of `ours` and `peer`, and of the ratios of their neighbouring turns."""
        ratios = ratios or [a / b for a, b in zip(ours, peer)]
        row = {
            "what": what, "unit": unit, "ours": statistics.median(ours), "onnxruntime": statistics.median(peer),
            "ratio": statistics.median(ratios), "turns": len(ratios),
        }
        self.rows.append(row)
        print(f"{what:<58}{row['ours']:>10.1f}{row['onnxruntime']:>10.1f} {unit:<5}{row['ratio']:>7.2f}", flush=True)

    def compare(self, what, ours, peer, turns):
        """Times two pieces of work that report seconds, in turns, after one warm-up each."""
        def alone(work):
            # ONNX Runtime's threads spin for a while after their work is done.
            time.sleep(0.05)
            return work()

        ours(), peer()
        results = []
        for turn in range(turns):
            if turn % 2:
                results.append((alone(ours), alone(peer)))
            else:
                results.append((alone(peer), alone(ours))[::-1])
        self.add(what, [1000 * a for a, _ in results], [1000 * b for _, b in results], "ms")


def fresh_texts():
    """Prompts that no cache has seen, of ordinary length."""
    return (f"{prompt} {number}" for number in itertools.count() for prompt in PROMPTS)


def encoders(report, ours, prepacked, peer, turns):
    for count in (1, 8):
        command = {"images": count}
        report.compare(f"image encoder, batch {count}", lambda: ours.seconds(command), lambda: peer.seconds(command), turns)
        report.compare(
            f"image encoder, batch {count}, prepacked weights",
            lambda: prepacked.seconds(command), lambda: peer.seconds(command), turns,
        )
    for count in (1, 5, 20):
        command = {"texts": PROMPTS[:count]}
        report.compare(
            f"text encoder, {count} prompt{'s' * (count > 1)}", lambda: ours.seconds(command), lambda: peer.seconds(command), turns
        )
        report.compare(
            f"text encoder, {count} prompt{'s' * (count > 1)}, peer padded to 77",
            lambda: ours.seconds(command), lambda: peer.seconds({"padded_texts": PROMPTS[:count]}), max(3, turns // 2),
        )


def service(report, daemon, bus, peer, picture, turns):
    web, dbus = Http(daemon.port), DBus(bus)
    encoded = base64.b64encode(picture.read_bytes()).decode()
    request = {"image": encoded, "prompts": PROMPTS[:10], "top_k": 10}
    descriptor = os.open(picture, os.O_RDONLY)
    over_http = lambda: web.post("/v1/classify", request)  # noqa: E731
    over_dbus = lambda: dbus.call("ClassifyFd", "hasa{sv}", [0, PROMPTS[:10], {}], [descriptor])  # noqa: E731
    in_python = {"classify": [str(picture), PROMPTS[:10]]}

    for name, ours in (("HTTP", over_http), ("D-Bus", over_dbus)):
        report.compare(
            f"classify a 1-megapixel JPEG, 10 cached prompts, {name}",
            lambda: timed(ours), lambda: peer.seconds(in_python), turns,
        )
    fresh = fresh_texts()
    for count in (1, 5, 20):
        def embed(texts):
            return timed(lambda: dbus.call("EmbedTexts", "as", [texts]))

        report.compare(
            f"texts over D-Bus, {count} never seen",
            lambda: embed(list(itertools.islice(fresh, count))), lambda: peer.seconds({"texts": PROMPTS[:count]}), turns,
        )
        report.compare(
            f"texts over D-Bus, {count} cached, peer encodes again",
            lambda: embed(PROMPTS[:count]), lambda: peer.seconds({"texts": PROMPTS[:count]}), turns,
        )
    throughput(report, daemon, dbus, peer, request, descriptor, in_python, turns)
    os.close(descriptor)


def throughput(report, daemon, dbus, peer, request, descriptor, in_python, turns):
    """Requests a second, as many clients as a small machine has, each waiting for its answer."""
    each = 4
    with ThreadPoolExecutor(CLIENTS) as pool:
        connections = [Http(daemon.port) for _ in range(CLIENTS)]

        def over_http():
            work = lambda connection: [connection.post("/v1/classify", request) for _ in range(each)]  # noqa: E731
            return CLIENTS * each / timed(lambda: list(pool.map(work, connections)))

        async def dbus_client():
            for _ in range(each):
                await dbus.call_async("ClassifyFd", "hasa{sv}", [0, PROMPTS[:10], {}], [descriptor])

        async def dbus_clients():
            await asyncio.gather(*(dbus_client() for _ in range(CLIENTS)))

        def over_dbus():
            return CLIENTS * each / timed(lambda: dbus.loop.run_until_complete(dbus_clients()))

        def without_server():
            return each / sum(peer.seconds(in_python) for _ in range(each))

        for name, ours in (("HTTP", over_http), ("D-Bus", over_dbus)):
            pairs = [(ours(), without_server()) for _ in range(max(3, turns // 3))]
            report.add(
                f"classify, {CLIENTS} clients, {name}; peer in a loop", [a for a, _ in pairs], [b for _, b in pairs], "1/s",
            )


def memory(report, name, ours, peer):
    for kind, label in (("peak", "peak resident"), ("anonymous", "anonymous at the end")):
        report.add(f"memory, {label}, {name}", [ours[kind] / 1024], [peer[kind] / 1024], "MiB")


def draw_picture(path):
    """A megapixel with detail at every scale, as a camera's JPEG has."""
    random = numpy.random.default_rng(1)
    layers = [
        numpy.asarray(
            Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=numpy.uint8)).resize(
                (1152, 864), Image.Resampling.BICUBIC
            ),
            dtype=numpy.float32,
        )
        for cells in (4, 30, 300)
    ]
    mixed = 0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2]
    Image.fromarray(mixed.astype(numpy.uint8)).save(path, quality=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--daemon", type=Path, required=True)
    parser.add_argument("--worker", type=Path, required=True, help="the built cpu_backend.rs")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, default=Path("target/bench/bench.json"))
    arguments = parser.parse_args()
    bundle, threads, turns = arguments.bundle.resolve(), str(arguments.threads), arguments.turns

    report = Report()
    print(f"ratios to plain ONNX Runtime in Python, {threads} threads each; below 1 is faster or smaller (above 1 for 1/s)\n")
    print(f"{'':<58}{'ours':>10}{'ONNX RT':>10} {'':<5}{'ratio':>7}")
    with ExitStack() as stack:
        def worker(*command):
            started = Worker(*command)
            stack.callback(started.stop)
            return started

        def peer_worker():
            return worker(sys.executable, str(HERE / "onnxruntime_worker.py"), str(bundle), threads)

        ours = worker(str(arguments.worker), str(bundle), threads, "false")
        prepacked = worker(str(arguments.worker), str(bundle), threads, "true")
        peer = peer_worker()
        encoders(report, ours, prepacked, peer, turns)
        used = peer.ask("memory")
        memory(report, "encoders", ours.ask("memory"), used)
        memory(report, "encoders, prepacked weights", prepacked.ask("memory"), used)
        ours.stop(), prepacked.stop(), peer.stop()

        bus = stack.enter_context(message_bus())
        starts = []
        for _ in range(3):
            daemon = Daemon(arguments.daemon, bundle, bus, arguments.threads)
            daemon.stop()
            peer = peer_worker()
            peer.stop()
            starts.append((1000 * daemon.start_up, 1000 * peer.start_up))
        report.add("start-up, program to ready", [a for a, _ in starts], [b for _, b in starts], "ms")

        daemon = Daemon(arguments.daemon, bundle, bus, arguments.threads)
        stack.callback(daemon.stop)
        peer = peer_worker()
        picture = Path(daemon.folder.name) / "picture.jpg"
        draw_picture(picture)
        service(report, daemon, bus, peer, picture, turns)
        memory(report, "service", daemon.memory(), peer.ask("memory"))

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "threads": arguments.threads}
    arguments.output.write_text(json.dumps({"machine": machine, "rows": report.rows}, indent=2) + "\n")
    print(f"\nwritten to {arguments.output}")


if __name__ == "__main__":
    main()
