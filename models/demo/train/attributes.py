"""What a picture can show, and which combinations training never sees.

A `Subject` names what a picture shows or what a caption claims; a caption
leaves out (None) what it does not mention. A caption is true of a picture when
everything that it mentions agrees.
"""

from dataclasses import astuple, dataclass, fields, replace

SHAPES = ["circle", "square", "triangle", "star", "heart", "diamond", "cross", "hexagon", "ring", "arrow"]
COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray"]
COUNTS = ["1", "2", "3", "4", "5"]
SIZES = ["small", "medium", "large"]
POSITIONS = [
    "left", "right", "top", "bottom", "center",
    "top left", "top right", "bottom left", "bottom right",
]  # fmt: skip
PATTERNS = ["solid", "striped", "spotted", "checkered"]
BACKGROUNDS = ["white", "black", "gray", "yellow", "blue", "green", "pink"]

_BRIGHT = ["red", "orange", "yellow", "green", "blue", "purple", "pink"]

# Scene → the colours its main part comes in (none: the scene has no such part).
SCENES = {
    "night sky": [],
    "sunrise": [],
    "house": ["red", "orange", "green", "blue", "purple", "brown", "gray"],
    "tree": [],
    "snowy mountain": [],
    "empty shelf": [],
    "stocked shelf": [],
    "bicycle rider": [],
    "boat": ["red", "orange", "yellow", "green", "purple", "brown", "white"],
    "rainy cloud": [],
    "beach": [],
    "city at night": [],
    "rainbow": [],
    "desert": [],
    "sunny day": [],
    "cat": [],
    "dog": [],
    "fish": _BRIGHT,
    "bird": _BRIGHT,
    "butterfly": _BRIGHT,
    "car": [*_BRIGHT, "black"],
    "bus": _BRIGHT,
    "train": [*_BRIGHT, "black"],
    "airplane": [],
    "flower": _BRIGHT,
    "apple": ["red", "green", "yellow"],
    "mushroom": ["red", "orange", "brown", "purple", "blue"],
    "traffic light": ["red", "yellow", "green"],
    "cup": _BRIGHT,
    "balloon": _BRIGHT,
    "umbrella": _BRIGHT,
    "book": _BRIGHT,
    "snowman": [],
    "clock": [],
    "tent": _BRIGHT,
    "chair": _BRIGHT,
    "happy face": [],
    "sad face": [],
    "person": [],
}

KINDS = ["shapes", *SCENES]


@dataclass(frozen=True)
class Subject:
    """What a picture shows, or the part of it that a caption mentions."""

    kind: str
    shape: str | None = None
    colour: str | None = None
    count: str | None = None
    size: str | None = None
    position: str | None = None
    pattern: str | None = None
    background: str | None = None

    def with_(self, **changes):
        return replace(self, **changes)

    def codes(self):
        """One integer per attribute; -1 for what is not mentioned."""
        return [-1 if v is None else i[v] for v, i in zip(astuple(self), _INDEX)]


ATTRIBUTES = {
    "kind": KINDS,
    "shape": SHAPES,
    "colour": COLOURS,
    "count": COUNTS,
    "size": SIZES,
    "position": POSITIONS,
    "pattern": PATTERNS,
    "background": BACKGROUNDS,
}
_INDEX = [{v: n for n, v in enumerate(ATTRIBUTES[f.name])} for f in fields(Subject)]


def held_out_pairs(subject):
    """The pairs of attributes in `subject` that are kept for evaluation, by name.

    Training draws no picture and writes no caption that contains one.
    """
    kind, shape, colour, count, _, position, pattern, _ = subject.codes()
    pairs = []
    if subject.kind == "shapes":
        if shape >= 0 and colour >= 0 and (3 * colour + shape) % 10 == 7:
            pairs.append("colour x shape")
        if shape >= 0 and count > 0 and (2 * count + shape) % 10 == 5:
            pairs.append("count x shape")
        if colour >= 0 and position >= 0 and (2 * colour + position) % 9 == 5:
            pairs.append("colour x position")
        if shape >= 0 and pattern > 0 and (pattern + shape) % 10 == 7:
            pairs.append("pattern x shape")
    elif colour >= 0 and (kind + colour) % 7 == 3:
        pairs.append("scene x colour")
    return pairs
