"""A canvas in unit coordinates, with the variation that every picture shares."""

import colorsys
import math

import numpy
from PIL import Image, ImageDraw, ImageFilter

SIZE = 224
DARK = (35, 35, 40)

# Hue (degrees), saturation and value that people call by that name.
_RANGES = {
    "red": ((-8, 8), (0.75, 1.0), (0.65, 1.0)),
    "orange": ((22, 38), (0.85, 1.0), (0.88, 1.0)),
    "yellow": ((49, 60), (0.7, 1.0), (0.88, 1.0)),
    "green": ((90, 150), (0.5, 1.0), (0.4, 0.9)),
    "blue": ((205, 242), (0.6, 1.0), (0.5, 1.0)),
    "purple": ((268, 300), (0.5, 1.0), (0.42, 0.85)),
    "pink": ((325, 350), (0.25, 0.6), (0.92, 1.0)),
    "brown": ((16, 30), (0.55, 0.85), (0.3, 0.55)),
    "black": ((0, 360), (0.0, 0.2), (0.0, 0.15)),
    "white": ((0, 360), (0.0, 0.03), (0.95, 1.0)),
    "gray": ((0, 360), (0.0, 0.05), (0.42, 0.65)),
}


def paint(rng, name):
    """An RGB shade of the named colour."""
    hue, saturation, value = (rng.uniform(*r) for r in _RANGES[name])
    return hsv(hue, saturation, value)


def hsv(hue, saturation, value):
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value))


def mix(a, b, t):
    return tuple(round(x + (y - x) * t) for x, y in zip(a, b))


def regular_polygon(n, radius=1.0, start=-90.0):
    return [
        (radius * math.cos(math.radians(start + 360 * k / n)), radius * math.sin(math.radians(start + 360 * k / n)))
        for k in range(n)
    ]


class Canvas:
    """Draws in coordinates from 0 to 1, origin at the top left.

    Each canvas has its own manner: outlined or not, thick or thin lines, steady
    or shaky hand.
    """

    def __init__(self, rng, background=(255, 255, 255)):
        self.rng = rng
        self.image = Image.new("RGB", (SIZE, SIZE), background)
        self.draw = ImageDraw.Draw(self.image)
        self.ink = mix((0, 0, 0), (90, 70, 60), rng.random()) if rng.random() < 0.8 else (0, 0, 0)
        self.line_width = rng.choice([1, 2, 2, 3, 3, 4, 5])
        self.outlined = rng.random() < 0.4
        self.shake = rng.choice([0, 0, 0.003, 0.005])

    def _point(self, x, y):
        s = self.shake
        return ((x + self.rng.uniform(-s, s)) * SIZE, (y + self.rng.uniform(-s, s)) * SIZE)

    def polygon(self, points, fill, outline=None):
        points = [self._point(x, y) for x, y in points]
        self.draw.polygon(points, fill=fill)
        if self.outlined if outline is None else outline:
            self.draw.line([*points, points[0], points[1]], fill=self.ink, width=self.line_width, joint="curve")

    def rectangle(self, x0, y0, x1, y1, fill, outline=None):
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, outline)

    def ellipse(self, x, y, rx, ry, fill, outline=None):
        n = 28
        self.polygon(
            [(x + rx * math.cos(2 * math.pi * k / n), y + ry * math.sin(2 * math.pi * k / n)) for k in range(n)],
            fill,
            outline,
        )

    def circle(self, x, y, radius, fill, outline=None):
        self.ellipse(x, y, radius, radius, fill, outline)

    def line(self, points, colour, width):
        """A line `width` (a share of the canvas) wide."""
        pixels = max(1, round(width * SIZE))
        self.draw.line([self._point(x, y) for x, y in points], fill=colour, width=pixels, joint="curve")

    def ring(self, x, y, radius, colour, width):
        n = 36
        points = [
            (x + radius * math.cos(2 * math.pi * k / n), y + radius * math.sin(2 * math.pi * k / n))
            for k in range(n + 2)
        ]
        self.line(points, colour, width)

    def arc(self, x, y, rx, ry, start, end, colour, width):
        n = 18
        angles = [math.radians(start + (end - start) * k / n) for k in range(n + 1)]
        self.line([(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles], colour, width)

    def gradient(self, y0, y1, top, bottom):
        """Fills the rows from y0 to y1 with a vertical gradient."""
        a, b = round(y0 * SIZE), round(y1 * SIZE)
        for y in range(a, b):
            self.draw.line([(0, y), (SIZE, y)], fill=mix(top, bottom, (y - a) / max(1, b - a)))


def _grain(deviation):
    # Pillow's own noise cannot be seeded.
    grain = numpy.random.RandomState(int(deviation * 1e6)).normal(128, deviation, (SIZE, SIZE))
    return Image.fromarray(grain.clip(0, 255).astype(numpy.uint8)).convert("RGB")


def finish(image, rng):
    """The last touch: blur, noise, light and frame, as other hands and tools leave them."""
    if rng.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6)))
    if rng.random() < 0.3:
        image = Image.blend(image, _grain(rng.uniform(8, 50)), rng.uniform(0.05, 0.2))
    if rng.random() < 0.3:
        gain, lift = rng.uniform(0.85, 1.0), rng.uniform(0, 18)
        image = image.point(lambda v: min(255, round(v * gain + lift)))
    if rng.random() < 0.06:
        border = rng.randint(2, 9)
        shade = rng.choice([(0, 0, 0), (255, 255, 255), (120, 90, 60)])
        ImageDraw.Draw(image).rectangle([0, 0, SIZE - 1, SIZE - 1], outline=shade, width=border)
    return image
