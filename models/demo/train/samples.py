"""Draws the sample pictures and checks that the bundle ranks each one's prompt first.

Their seeds are neither in the training nor in the evaluation set. `--check`
asks the bundle about the pictures in the folder instead of drawing them.
"""

import argparse
import sys
from pathlib import Path

from PIL import Image

from attributes import Subject
from draw import draw

# File name → subject, seed, prompts with the right one first.
SAMPLES = {
    "red-circle.png": (
        Subject("shapes", "circle", "red", "1", "large", "center", "solid", "white"),
        5,
        ["a red circle", "a blue circle", "a red square", "a red triangle", "two red circles"],
    ),
    "three-green-triangles.png": (
        Subject("shapes", "triangle", "green", "3", "medium", None, "solid", "white"),
        12,
        [
            "three green triangles",
            "two green triangles",
            "three green squares",
            "three red triangles",
            "a green triangle",
        ],
    ),
    "blue-star-top-left.png": (
        Subject("shapes", "star", "blue", "1", "medium", "top left", "solid", "yellow"),
        5,
        [
            "a blue star in the top left corner",
            "a blue star in the bottom right corner",
            "a red star in the top left corner",
            "a blue heart in the top left corner",
        ],
    ),
    "striped-purple-heart.png": (
        Subject("shapes", "heart", "purple", "1", "large", "center", "striped", "white"),
        12,
        ["a striped purple heart", "a spotted purple heart", "a striped green heart", "a striped purple circle"],
    ),
    "empty-shelf.png": (
        Subject("empty shelf"),
        11,
        ["an empty shelf", "a stocked shelf", "a chair", "a book"],
    ),
    "stocked-shelf.jpg": (
        Subject("stocked shelf"),
        10,
        ["a stocked shelf", "an empty shelf", "a city skyline at night", "a train"],
    ),
    "person-on-bicycle.jpg": (
        Subject("bicycle rider"),
        10,
        ["a person riding a bicycle", "a person", "a car", "a clock", "a dog"],
    ),
    "night-sky.jpg": (
        Subject("night sky"),
        3,
        ["a night sky with a moon", "a city skyline at night", "a sunrise over the sea", "the sun in a blue sky"],
    ),
    "house-red-roof.jpg": (
        Subject("house", colour="red"),
        12,
        ["a house with a red roof", "a house with a blue roof", "a red tent", "a tree in a field"],
    ),
}
TEMPLATES = ["{}", "a photo of {}", "a drawing of {}"]
MARGIN = 0.2  # the least lead of the right prompt's score


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, (subject, seed, _) in SAMPLES.items():
        picture = draw(subject, f"sample/{seed}/{name}")
        picture.save(folder / name, **({"quality": 88} if name.endswith(".jpg") else {"optimize": True}))


def check(bundle, folder):
    """Prints the scores of every sample; returns the number of failures."""
    failures = 0
    for name, (_, _, prompts) in SAMPLES.items():
        for template in TEMPLATES:
            scores = bundle.scores(Image.open(folder / name), [template.format(p) for p in prompts])
            good = scores[0] - max(scores[1:]) >= MARGIN
            failures += not good
            row = "  ".join(f"{p} {s:.3f}" for p, s in zip(prompts, scores))
            print(f"{'ok  ' if good else 'POOR'} {name}  {template}: {row}")
    return failures


def main():
    home = Path(__file__).parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=home)
    parser.add_argument("--folder", type=Path, default=home / "samples")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if not options.check:
        return write(options.folder)

    from evaluate import Bundle

    failures = check(Bundle(options.bundle), options.folder)
    if failures:
        sys.exit(f"{failures} rankings without a clear lead")


if __name__ == "__main__":
    main()
