"""What sections measure with: programs, pictures, and contenders that are stopped when the section is over."""

import os
import subprocess
import tempfile
from base64 import b64encode
from contextlib import ExitStack, contextmanager
from pathlib import Path

from . import daemon, peers
from .load import post
from .pictures import MEGAPIXEL, PROMPTS, TWELVE_MEGAPIXELS, jpeg

PICTURES = 6


class Bench:
    def __init__(self, arguments):
        self.quick, self.threads = arguments.quick, arguments.threads
        self.bundle, self.int8_bundle = arguments.bundle.resolve(), arguments.int8_bundle.resolve()
        self.daemon_program, self.output = arguments.daemon.resolve(), arguments.output.resolve()
        self.worker_program, self.doors_program = arguments.worker, arguments.doors
        self.simd_python, self.infinity_python, self.npu_program = arguments.simd_python, arguments.infinity_python, arguments.npu
        self.whole, self.stack = ExitStack(), None

    def __enter__(self):
        self.folder = Path(self.whole.enter_context(tempfile.TemporaryDirectory()))
        self.pictures = [jpeg(MEGAPIXEL, seed) for seed in range(1, PICTURES + 1)]
        self.picture = self.file("picture.jpg", self.pictures[0])
        self.big_picture = self.file("big.jpg", jpeg(TWELVE_MEGAPIXELS, 1))
        self.bus = self.whole.enter_context(daemon.message_bus())
        return self

    def __exit__(self, *error):
        self.whole.close()

    @contextmanager
    def section(self):
        """Contenders that are started within are stopped after it."""
        with ExitStack() as self.stack:
            yield self

    def few(self, quick, full):
        return quick if self.quick else full

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def started(self, contender):
        self.stack.callback(contender.stop)
        return contender

    def daemon(self, bundle=None, settings=None, **more):
        return self.started(daemon.Daemon(self.daemon_program, bundle or self.bundle, self.bus, self.threads, settings, **more))

    def onnxruntime(self, simd=False):
        python = {"python": self.simd_python} if simd and self.simd_python else {}
        return self.started(peers.onnxruntime(self.bundle, self.threads, **python))

    @property
    def plain(self):
        """Name of the bare limit for whole requests."""
        return f"ONNX Runtime, {'Pillow-SIMD' if self.simd_python else 'Pillow'}, no server"

    def backend(self, bundle=None, prepack=False):
        return self.started(peers.Worker(self.worker_program, bundle or self.bundle, self.threads, str(prepack).lower()))

    def flask(self, mode):
        return self.started(peers.flask(self.bundle, self.threads, mode))

    def infinity(self):
        """On a model of the same shape, in the Hugging Face hub's layout, which is made once."""
        folder = self.output / "hf-clip"
        if not (folder / "preprocessor_config.json").exists():
            offline = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
            make = [str(self.infinity_python), str(peers.PEERS / "make_hf_clip.py"), str(folder), str(self.bundle / "tokenizer.json")]
            subprocess.run(make, env=offline, check=True, timeout=600)
        log = self.stack.enter_context((self.output / "infinity.log").open("w"))
        return self.started(peers.Infinity(self.infinity_python, folder, self.threads, log))

    def doors(self, service):
        return self.started(peers.Worker(self.doors_program, self.bus, f"127.0.0.1:{service.port}", self.picture))

    def requests(self, count=10):
        """Classifications in JSON, which all services take."""
        return [
            post("/v1/classify", {"image": b64encode(picture).decode(), "prompts": PROMPTS[:count]}) for picture in self.pictures
        ]

    def weights_bytes(self, bundle=None):
        return sum(file.stat().st_size for file in (bundle or self.bundle).glob("*.onnx*"))
