"""Draws the picture of a subject.

`python3 draw.py FOLDER` writes a contact sheet of every kind, to look at.
"""

import random
import sys
from pathlib import Path

from PIL import Image

import creatures
import places
import things
from attributes import SCENES
from canvas import SIZE, Canvas, finish, paint
from shapes import draw_shapes


def _painter(kind):
    name = kind.replace(" ", "_")
    return next(getattr(m, name) for m in (places, creatures, things) if hasattr(m, name))


PAINTERS = {kind: _painter(kind) for kind in SCENES}


def draw(subject, seed):
    """An RGB picture, 224 x 224. The same subject and seed give the same pixels."""
    rng = random.Random(seed)
    canvas = Canvas(rng)
    if subject.kind == "shapes":
        draw_shapes(canvas, subject)
    elif subject.kind == "traffic light":
        places.traffic_light(canvas, subject.colour)
    else:
        PAINTERS[subject.kind](canvas, paint(rng, subject.colour) if subject.colour else None)
    return finish(canvas.image, rng)


def contact_sheet(subjects, seed, columns=12):
    sheet = Image.new("RGB", (columns * 112, -(-len(subjects) // columns) * 112))
    for n, subject in enumerate(subjects):
        small = draw(subject, seed + n).reduce(SIZE // 112)
        sheet.paste(small, (n % columns * 112, n // columns * 112))
    return sheet


if __name__ == "__main__":
    from subjects import random_scene, random_shapes

    folder = Path(sys.argv[1])
    rng = random.Random(1)
    shapes = [random_shapes(rng) for _ in range(96)]
    contact_sheet(shapes, 1000).save(folder / "shapes.png")
    scenes = [random_scene(rng, kind) for kind in SCENES for _ in range(4)]
    contact_sheet(scenes, 2000).save(folder / "scenes.png")
