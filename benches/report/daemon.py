"""The service under measurement: started on a message bus and a port of its own, watched, stopped."""

import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from .machine import ROOT

PATIENCE = 120


class Daemon:
    """Ready when it is made; `start_up` is how long that took, from exec to READY=1, in seconds."""

    def __init__(self, program, bundle, bus, threads, settings=None, wrapper=(), patience=PATIENCE, environment=None, state=None):
        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        config = {
            "server": {"host": "127.0.0.1", "port": 0},
            "clip": {"model": bundle.name, "backend": "cpu"},
            "performance": {"inference_threads": threads, "worker_threads": threads, "max_queue_size": 1024, "request_timeout": 600},
        }
        for name, values in (settings or {}).items():
            config[name] = config.get(name, {}) | values
        # JSON is YAML.
        (folder / "hailo-clip.yaml").write_text(json.dumps(config))
        self.log = folder / "log"
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(folder / "notify"))
        notify.settimeout(patience)
        command = [
            *wrapper, str(program), "--config", str(folder / "hailo-clip.yaml"), "--bus", bus,
            "--models-dir", str(bundle.parent), "--state-dir", str(state or folder / "state"),
        ]
        variables = os.environ | allocator() | {"NO_COLOR": "1", "NOTIFY_SOCKET": str(folder / "notify")} | (environment or {})
        started = time.perf_counter()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stderr=log, env=variables)
        try:
            self.port = self.wait_until_ready(notify)
        except BaseException:
            self.stop()
            raise
        self.start_up = time.perf_counter() - started
        notify.close()

    def wait_until_ready(self, notify):
        status = ""
        while True:
            try:
                message = notify.recv(4096).decode()
            except TimeoutError:
                raise RuntimeError(f"the daemon is not ready:\n{self.log.read_text()[-2000:]}") from None
            status = next((line for line in message.splitlines() if line.startswith("STATUS=")), status)
            if "READY=1" in message.splitlines() and (address := re.search(r"http on 127\.0\.0\.1:(\d+)", status)):
                return int(address[1])

    @property
    def pid(self):
        return self.process.pid

    def memory(self):
        """Resident kB: at most ever, anonymous, of files that the kernel may reclaim."""
        return memory(self.pid)

    def cpu_seconds(self):
        return cpu_seconds(self.pid)

    def page_faults(self):
        """So far, without those that waited for a disk."""
        return int(stat(self.pid)[7])

    def thread_seconds(self):
        """Processor time so far, by the threads' names without their numbers."""
        seconds = Counter()
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                name, time = (task / "comm").read_text(), (task / "schedstat").read_text()
            except OSError:
                continue
            seconds[re.sub(r"[-\d]*$", "", name.strip())] += int(time.split()[0]) / 1e9
        return seconds

    def metrics(self):
        """Samples of `/metrics`, by name with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def stages(self):
        """(seconds, count) so far, by stage."""
        metrics = self.metrics()
        name = "hailo_clip_stage_duration_seconds"
        return {
            found[1]: (metrics[sample], metrics[sample.replace("_sum{", "_count{")])
            for sample in metrics if (found := re.fullmatch(name + r'_sum\{stage="(\w+)"\}', sample))
        }

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.folder.cleanup()


def allocator():
    """The allocator's settings in the service's unit."""
    return dict(re.findall(r"(MALLOC_\w+)=(\d+)", (ROOT / "systemd/hailo-clip.service").read_text()))


class MemoryWatch:
    """Resident memory of a process over time, sampled in a thread: `samples` of (seconds, anonymous, files) in kB."""

    def __init__(self, pid, interval=0.02):
        self.pid, self.interval, self.samples = pid, interval, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        started = time.perf_counter()
        while not self.ended.wait(self.interval):
            try:
                now = memory(self.pid)
            except (OSError, TypeError):
                return
            self.samples.append((time.perf_counter() - started, now["anonymous"], now["files"]))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def peak_anonymous(self):
        return max(sample[1] for sample in self.samples)


def memory(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    field = lambda name: int(re.search(rf"{name}:\s+(\d+)", status)[1])  # noqa: E731
    return {"peak": field("VmHWM"), "anonymous": field("RssAnon"), "files": field("RssFile")}


def stat(pid):
    """Fields of `/proc/PID/stat` from the third on: what comes after the program's name."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def cpu_seconds(pid):
    """User and system time so far."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def message_bus():
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
