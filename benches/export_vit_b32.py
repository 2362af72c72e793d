#!/usr/bin/env python3
"""Exports a CLIP ViT-B/32 with random weights as a model bundle, with PyTorch's own results beside it.

    export_vit_b32.py DIRECTORY

DIRECTORY becomes the bundle (about 600 MB), named as itself; DIRECTORY/reference/ holds the inputs and
embeddings that tests compare with. Nothing is downloaded, and the same seed gives the same bundle. Needs PyTorch (1.13 or later), NumPy and onnx: on Debian python3-torch, python3-numpy and
python3-onnx, with libopenblas0-pthread for speed.
"""

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy
import onnx
import torch

from clip_model import MEAN, STD, VIT_B_32, encoders, export, normalize_pixels

FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "clip-tokenizer"


def pictures(count, size, generator):
    """Pictures that differ at every scale: colour, layout and texture."""

    def noise(cells):
        coarse = torch.rand(1, 3, cells, cells, generator=generator)
        return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)

    result = []
    for _ in range(count):
        layers = [noise(cells) for cells in (2, 7, 56)]
        mixed = 0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2]
        result.append((mixed[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0))
    return torch.stack(result).numpy()


def texts():
    """Texts of several lengths, the longest fills the context, with OpenAI's own token ids."""
    rows = json.loads((FIXTURES / "expected.json").read_text())
    by_length = {len(row["ids"]): row for row in rows}
    return [by_length[length] for length in sorted(by_length)]


def padded(token_lists, length):
    ids = torch.zeros(len(token_lists), length, dtype=torch.int64)
    for row, tokens in zip(ids, token_lists):
        row[: len(tokens)] = torch.tensor(tokens)
    return ids


def assert_apart(kind, embeddings):
    """Agreement between implementations proves nothing if all inputs give the same embedding."""
    unit = torch.nn.functional.normalize(embeddings, dim=-1)
    cosines = (unit @ unit.T).fill_diagonal_(-1)
    print(f"{kind}: highest cosine between different inputs {cosines.max():.4f}")
    assert cosines.max() < 0.99, f"{kind} embeddings of different inputs are nearly equal"


def write_network(encoder, example, folder, tower, input_name, output_name):
    """ONNX with its weights beside it, where they can be mapped."""
    with tempfile.TemporaryDirectory() as scratch:
        single = Path(scratch) / f"{tower}.onnx"
        export(encoder, example, single, input_name, output_name)
        network = onnx.load(str(single))
    onnx.save_model(
        network, str(folder / f"{tower}.onnx"), save_as_external_data=True, all_tensors_to_one_file=True,
        location=f"{tower}.onnx.data", size_threshold=1024,
    )


def file_entry(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return {"file": path.name, "size": path.stat().st_size, "sha256": digest.hexdigest()}


def write_description(folder):
    """model.yaml; JSON is YAML."""
    def tower(name):
        return {"cpu": {**file_entry(folder / f"{name}.onnx"), "data": [file_entry(folder / f"{name}.onnx.data")]}}

    shape = VIT_B_32
    description = {
        "format": 1,
        "name": folder.resolve().name,
        "description": "CLIP ViT-B/32 with random weights, for measurements; its scores mean nothing",
        "license": "MIT",
        "precision": "fp32",
        "aliases": [],
        "embedding_dimension": shape.dimension,
        "image": {"size": shape.image_size, "fit": "stretch", "mean": MEAN, "std": STD},
        "text": {
            "context_length": shape.context_length,
            "pad": 0,
            "tokenizer": file_entry(folder / "tokenizer.json"),
        },
        "logit_scale": 100.0,
        "logit_bias": None,
        "towers": {"image": tower("image"), "text": tower("text")},
    }
    (folder / "model.yaml").write_text(json.dumps(description, indent=2) + "\n")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    reference = folder / "reference"
    reference.mkdir(parents=True)

    image, text = encoders(VIT_B_32, seed=32)
    generator = torch.Generator().manual_seed(23)
    images = pictures(8, VIT_B_32.image_size, generator)
    rows = texts()
    pixels = normalize_pixels(images)
    ids = padded([row["ids"] for row in rows], VIT_B_32.context_length)
    with torch.no_grad():
        image_embeddings, text_embeddings = image(pixels), text(ids)
    assert_apart("images", image_embeddings)
    assert_apart("texts", text_embeddings)

    write_network(image, pixels[:2], folder, "image", "pixel_values", "image_embeds")
    write_network(text, ids[:2], folder, "text", "input_ids", "text_embeds")
    shutil.copyfile(FIXTURES / "tokenizer.json", folder / "tokenizer.json")

    numpy.save(reference / "images.npy", images)
    (reference / "texts.json").write_text(json.dumps(rows) + "\n")
    numpy.save(reference / "image_embeddings.npy", image_embeddings.numpy())
    numpy.save(reference / "text_embeddings.npy", text_embeddings.numpy())
    # Last: where this file is, the bundle is complete.
    write_description(folder)


if __name__ == "__main__":
    main()
