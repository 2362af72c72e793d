"""Exports a checkpoint as the bundle: two ONNX files, the vocabulary and `model.yaml`."""

import argparse
import hashlib
import shutil
from pathlib import Path

import torch

from model import CONTEXT_LENGTH, EMBEDDING_DIMENSION, IMAGE_MEAN, IMAGE_SIZE, IMAGE_STD, Clip
from tokenizer import Tokenizer

OPSET = 14

MODEL_YAML = """\
format: 1
name: demo
description: A small CLIP trained on pictures that a program draws, to show the service at work; not for photographs.
license: MIT
precision: fp32
aliases: []
embedding_dimension: {dimension}
image:
  size: {size}
  fit: stretch
  mean: {mean}
  std: {std}
text:
  context_length: {context}
  pad: 0
  tokenizer: {tokenizer}
logit_scale: {logit_scale:.4f}
logit_bias: null
towers:
  image:
    cpu: {image}
  text:
    cpu: {text}
"""


def export_tower(tower, example, path, input_name, output_name, dynamic):
    arguments = {
        "input_names": [input_name],
        "output_names": [output_name],
        "dynamic_axes": {input_name: dynamic, output_name: {0: "batch"}},
        "opset_version": OPSET,
    }
    if torch.__version__ >= "2.5":
        arguments["dynamo"] = False
    torch.onnx.export(tower, example, str(path), **arguments)


def entry(path):
    """A file's place in `model.yaml`."""
    content = path.read_bytes()
    return f"{{file: {path.name}, size: {len(content)}, sha256: {hashlib.sha256(content).hexdigest()}}}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/demo-model"), help="folder that train.py filled")
    parser.add_argument("--bundle", type=Path, default=Path(__file__).parent.parent)
    options = parser.parse_args()

    tokenizer, image, text = (options.bundle / n for n in ("tokenizer.json", "image.onnx", "text.onnx"))
    shutil.copyfile(options.work / "tokenizer.json", tokenizer)
    vocabulary = len(Tokenizer(tokenizer))
    model = Clip(vocabulary)
    model.load_state_dict(torch.load(options.work / "checkpoint.pt", map_location="cpu"))
    model.eval()
    # Example inputs of odd sizes, so that no size is taken for a constant.
    pictures = torch.zeros(3, 3, IMAGE_SIZE, IMAGE_SIZE)
    captions = torch.tensor([[vocabulary - 2, 5, 6, 7, vocabulary - 1, 0, 0]] * 5)
    export_tower(model.image.for_whole_pictures().eval(), pictures, image, "pixel_values", "image_embeds", {0: "batch"})
    export_tower(model.text, captions, text, "input_ids", "text_embeds", {0: "batch", 1: "sequence"})

    yaml = MODEL_YAML.format(
        dimension=EMBEDDING_DIMENSION,
        size=IMAGE_SIZE,
        mean=list(IMAGE_MEAN),
        std=list(IMAGE_STD),
        context=CONTEXT_LENGTH,
        logit_scale=model.log_logit_scale.exp().item(),
        tokenizer=entry(tokenizer),
        image=entry(image),
        text=entry(text),
    )
    (options.bundle / "model.yaml").write_text(yaml, encoding="utf-8")
    for path in (image, text, tokenizer):
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
