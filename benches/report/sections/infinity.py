"""infinity-emb, which serves CLIP models with PyTorch, beside the service: embeddings in OpenAI's form."""

import itertools
from base64 import b64encode

from ..figures import Section
from ..load import closed_loop, post
from ..pictures import PROMPTS

PEER = "infinity-emb"
CLIENTS = (1, 4, 16)


def run(bench):
    section = Section(
        "infinity", "Beside infinity-emb",
        "Embeddings of pictures of a megapixel, and of ten prompts never seen, over HTTP in OpenAI's form; infinity-emb serves a CLIP "
        "ViT-B/32 of the same shape with PyTorch on the CPU, from a folder, without the network. Classification it has not.",
    )
    if not bench.infinity_python:
        section.note(
            "not measured: infinity-emb needs PyTorch 2, which PyPI gives for x86-64 with 2.5 GB of CUDA's libraries alone, and Debian "
            "bookworm has 1.13 (there it stops with “No module named 'torch._dynamo'”); INFINITY=yes benches/run installs it"
        )
        return section
    service, peer = bench.daemon(), bench.infinity()
    fresh = itertools.count()
    images = [
        post("/v1/embeddings", {"model": bench.bundle.name, "input": "data:image/jpeg;base64," + b64encode(picture).decode(), "modality": "image"})
        for picture in bench.pictures
    ]
    their_images = [
        post("/embeddings", {"model": peer.model, "input": ["data:image/jpeg;base64," + b64encode(picture).decode()], "modality": "image"})
        for picture in bench.pictures
    ]

    def texts(path, model):
        """Requests whose prompts no cache knows."""
        return (post(path, {"model": model, "input": [f"{prompt}, number {number}" for prompt in PROMPTS[:10]]}) for number in fresh)

    for what, ours, theirs, fact in (
        ("embed a 1-megapixel JPEG", lambda: images, lambda: their_images, "infinity_image"),
        ("embed ten new prompts", lambda: texts("/v1/embeddings", bench.bundle.name), lambda: texts("/embeddings", peer.model), "infinity_text"),
    ):
        closed_loop(service.port, ours(), 1, 0.5)
        closed_loop(peer.port, theirs(), 1, 0.5)
        for clients in CLIENTS:
            loads = [
                (closed_loop(service.port, ours(), clients, bench.few(3, 8)), closed_loop(peer.port, theirs(), clients, bench.few(3, 8)))
                for _ in range(bench.few(1, 3))
            ]
            name = f"{what}, {clients} client{'s' * (clients > 1)}"
            if failed := [load.others for pair in loads for load in pair if load.others]:
                section.note(f"{name}: answers that were none: {failed}")
            if not all(load.latencies for pair in loads for load in pair):
                continue
            section.compare(name, "1/s", [a.rate for a, _ in loads], [b.rate for _, b in loads], PEER, f"{fact}_{clients}")
            section.compare(
                f"99th percentile: {name}", "ms", [a.percentile(0.99) for a, _ in loads], [b.percentile(0.99) for _, b in loads], PEER, scale=1000,
            )
    ours, theirs = service.memory(), peer.memory()
    section.compare("memory, anonymous", "MiB", [ours["anonymous"] / 1024], [theirs["anonymous"] / 1024], PEER)
    return section
