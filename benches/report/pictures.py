"""Pictures and prompts that all contenders get."""

import io

import numpy
from PIL import Image

PROMPTS = [
    "a photo of a cat", "a photo of a dog", "an empty shelf", "a stocked shelf", "a person riding a bicycle",
    "the night sky with a full moon", "sunrise over the sea", "a snowy mountain", "a house with a red roof",
    "a tree in a green field", "a crowded street at night", "a bowl of fruit on a table", "two children playing",
    "a train leaving the station", "a black and white portrait", "an aerial view of a city", "a cup of coffee",
    "a bird in flight", "a handwritten letter", "a screenshot of a web page",
]
MEGAPIXEL = (1152, 864)
TWELVE_MEGAPIXELS = (4000, 3000)


def draw(size, seed):
    """Detail at every scale, as a camera's picture has."""
    random = numpy.random.default_rng(seed)
    mixed = numpy.zeros((size[1], size[0], 3), dtype=numpy.float32)
    for cells, share in ((4, 0.5), (30, 0.3), (300, 0.2)):
        coarse = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=numpy.uint8))
        mixed += share * numpy.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=numpy.float32)
    return Image.fromarray(mixed.astype(numpy.uint8))


def encoded(picture, kind="JPEG"):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return buffer.getvalue()


def jpeg(size, seed):
    return encoded(draw(size, seed))
