"""Programs to measure beside the service: started, spoken to, stopped."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from . import daemon

PEERS = Path(__file__).resolve().parents[1] / "peers"


class Worker:
    """A program that answers JSON lines."""

    def __init__(self, *command):
        started = time.perf_counter()
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.opened = self.answer()["seconds"]
        self.start_up = time.perf_counter() - started

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[0]} stopped with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, command):
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return self.answer()

    def seconds(self, command):
        return self.ask(command)["seconds"]

    def stop(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait()


def onnxruntime(bundle, threads, python=sys.executable):
    """Plain ONNX Runtime, without any server."""
    return Worker(python, PEERS / "onnxruntime_worker.py", bundle, threads)


class Service:
    """An HTTP server that says its port in one JSON line."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command[1]} stopped with status {self.process.wait()}")
        self.port = json.loads(line)["port"]

    @property
    def pid(self):
        return self.process.pid

    def memory(self):
        return daemon.memory(self.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait()


# Name in the report, mode of flask_service.py.
FLASK = {
    "Flask and ONNX Runtime": "encode",
    "the same, texts kept": "cache",
    "the replaced service's behaviour": "lock",
}


def flask(bundle, threads, mode):
    return Service(sys.executable, PEERS / "flask_service.py", bundle, threads, mode)


class Infinity:
    """infinity-emb on a model's folder, without the network."""

    def __init__(self, python, folder, threads, log):
        self.model = str(folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        offline = {
            "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0",
            "OMP_NUM_THREADS": str(threads),
        }
        command = [
            Path(python).with_name("infinity_emb"), "v2", "--model-id", folder, "--engine", "torch", "--device", "cpu",
            "--no-bettertransformer", "--no-model-warmup", "--host", "127.0.0.1", "--port", self.port,
        ]
        self.process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, env=os.environ | offline)
        for _ in range(600):
            if self.process.poll() is not None:
                raise RuntimeError(f"infinity-emb stopped with status {self.process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.5)
        self.stop()
        raise RuntimeError("infinity-emb does not serve")

    def memory(self):
        return daemon.memory(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait()
