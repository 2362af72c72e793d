"""CLIP with ONNX Runtime, NumPy and Pillow, as a Python program would have it. What all peers are made of."""

import time
from pathlib import Path

import numpy
import onnxruntime
import tokenizers
import yaml
from PIL import Image


class OnnxClip:
    """A bundle's two encoders; `opened` is how long their sessions took to make, `processor` its time for that, in seconds."""

    def __init__(self, folder, threads):
        folder = Path(folder)
        description = yaml.safe_load((folder / "model.yaml").read_text())
        self.mean, self.std = (numpy.array(description["image"][key], dtype=numpy.float32) for key in ("mean", "std"))
        self.size = description["image"]["size"]
        self.logit_scale = description["logit_scale"]
        self.context_length = description["text"]["context_length"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        started, processor = time.perf_counter(), time.process_time()
        self.image, self.text = (
            onnxruntime.InferenceSession(str(folder / f"{tower}.onnx"), options, providers=["CPUExecutionProvider"])
            for tower in ("image", "text")
        )
        self.opened = time.perf_counter() - started
        self.processor = time.process_time() - processor
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.context_length)

    def pixels(self, file):
        """A picture file as the model's square, stretched, in bytes. Decoded whole."""
        with Image.open(file) as picture:
            square = picture.convert("RGB").resize((self.size, self.size), Image.Resampling.BICUBIC)
        return numpy.asarray(square)

    def embed_images(self, pixels):
        planes = ((pixels.astype(numpy.float32) / 255 - self.mean) / self.std).transpose(0, 3, 1, 2)
        return normalized(self.image.run(None, {"pixel_values": numpy.ascontiguousarray(planes)})[0])

    def embed_texts(self, texts, padded=False):
        """As one batch, as long as its longest text, or padded to the model's context."""
        encoded = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        length = self.context_length if padded else max(map(len, encoded))
        ids = numpy.zeros((len(texts), length), dtype=numpy.int64)
        for row, tokens in zip(ids, encoded):
            row[: len(tokens)] = tokens
        return normalized(self.text.run(None, {"input_ids": ids})[0])

    def scores(self, image, texts):
        logits = self.logit_scale * (image @ texts.T)
        scores = numpy.exp(logits - logits.max())
        return scores / scores.sum()


def normalized(embeddings):
    return embeddings / numpy.linalg.norm(embeddings, axis=1, keepdims=True)
