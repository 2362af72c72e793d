"""Evaluates the exported bundle on pictures that training never saw.

Each picture is shown with ten captions, one of them right. Every picture of
shapes, and every coloured scene, has a combination of attributes that no
training picture and no training caption has. Exits with 1 when a target is
missed. `--write FOLDER` writes the pictures and captions out instead, for
another program to be measured on the same set.
"""

import argparse
import collections
import hashlib
import json
import re
import sys
from pathlib import Path

import numpy

import subjects
from attributes import SCENES, held_out_pairs
from captions import canonical
from draw import draw

SEED = 7001
SHAPES = 1000
PER_SCENE = 20
PER_SHELF = 100
CAPTIONS = 10
HARD = 6  # at least so many of the nine wrong captions differ in one attribute, where there are so many
TARGETS = {"shapes": 0.90, "scenes": 0.90, "shelves": 0.95, "all": 0.90}
SHELVES = ("empty shelf", "stocked shelf")


def questions():
    """Yields (name, group, kept-out combination, picture, captions, index of the right one)."""
    for n in range(SHAPES):
        rng = subjects.seeded("evaluation", SEED, "shapes", n)
        subject = subjects.random_shapes(rng, held_out=True)
        claim = subjects.true_claim(subject, rng)
        while not held_out_pairs(claim):
            claim = subjects.true_claim(subject, rng)
        yield _question(f"shapes-{n:04}", "shapes", claim, subject, rng)
    for kind in SCENES:
        for n in range(PER_SHELF if kind in SHELVES else PER_SCENE):
            rng = subjects.seeded("evaluation", SEED, kind, n)
            subject = subjects.random_scene(rng, kind, held_out=subjects.has_held_out_colour(kind))
            group = "shelves" if kind in SHELVES else "scenes"
            yield _question(f"{kind.replace(' ', '-')}-{n:03}", group, subject, subject, rng)


def _question(name, group, claim, subject, rng):
    right = canonical(claim)
    hard = subjects.variations(claim)
    rng.shuffle(hard)
    wrong = [canonical(c) for c in _one_of_each_attribute(claim, hard)[:HARD]]
    if group == "shelves":
        wrong.append(canonical(subjects.Subject(next(k for k in SHELVES if k != subject.kind))))
    while len(wrong) < CAPTIONS - 1:
        other = _two_changes(claim, rng) if group == "shapes" else subjects.random_scene(rng)
        text = canonical(other)
        if text != right and text not in wrong and other.kind in ("shapes", *(k for k in SCENES if k != subject.kind)):
            wrong.append(text)
    place = rng.randrange(CAPTIONS)
    captions = wrong[:place] + [right] + wrong[place:]
    return name, group, held_out_pairs(claim), draw(subject, f"evaluation/{SEED}/{name}"), captions, place


def _one_of_each_attribute(claim, variations):
    """The variations, reordered so that the attributes take turns."""
    seen = collections.Counter()
    keyed = []
    for variation in variations:
        changed = next(k for k in vars(claim) if getattr(claim, k) != getattr(variation, k))
        keyed.append((seen[changed], len(keyed), variation))
        seen[changed] += 1
    return [v for _, _, v in sorted(keyed, key=lambda k: k[:2])]


def _two_changes(claim, rng):
    once = rng.choice(subjects.variations(claim))
    return rng.choice(subjects.variations(once))


class Bundle:
    """The exported files, run as the service runs them."""

    def __init__(self, folder):
        import onnxruntime
        import yaml
        from tokenizers import Tokenizer

        manifest = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
        for file in (manifest["text"]["tokenizer"], *(tower["cpu"] for tower in manifest["towers"].values())):
            content = (folder / file["file"]).read_bytes()
            if len(content) != file["size"] or hashlib.sha256(content).hexdigest() != file["sha256"]:
                sys.exit(f"{file['file']} is not the file that model.yaml describes; run export.py again")
        self.mean, self.std = (numpy.array(manifest["image"][k], numpy.float32) for k in ("mean", "std"))
        self.logit_scale = manifest["logit_scale"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(77)
        self.tokenizer.enable_padding(pad_id=0)
        self.image, self.text = (
            onnxruntime.InferenceSession(str(folder / f"{n}.onnx"), providers=["CPUExecutionProvider"])
            for n in ("image", "text")
        )

    def embed_images(self, images):
        pixels = numpy.stack([numpy.asarray(i.convert("RGB").resize((224, 224), 3), numpy.float32) for i in images])
        pixels = ((pixels / 255 - self.mean) / self.std).transpose(0, 3, 1, 2)
        return _unit(self.image.run(None, {"pixel_values": numpy.ascontiguousarray(pixels, numpy.float32)})[0])

    def embed_texts(self, texts):
        ids = numpy.array([e.ids for e in self.tokenizer.encode_batch(texts)], numpy.int64)
        return _unit(self.text.run(None, {"input_ids": ids})[0])

    def scores(self, image, texts):
        """Softmax scores of the texts for one picture."""
        logits = self.logit_scale * (self.embed_texts(texts) @ self.embed_images([image])[0])
        scores = numpy.exp(logits - logits.max())
        return scores / scores.sum()


def _unit(x):
    return x / numpy.linalg.norm(x, axis=-1, keepdims=True)


def evaluate(bundle, template):
    right, total, confidence = collections.Counter(), collections.Counter(), []
    for name, group, pairs, image, captions, place in questions():
        scores = bundle.scores(image, [template.format(c) for c in captions])
        correct = int(scores.argmax()) == place
        confidence.append(scores.max())
        kind = f"  {re.sub(r'-[0-9]+$', '', name)}" if group == "scenes" else None
        for key in {group, "all", *(f"  {p}" for p in pairs), *([kind] if kind else [])}:
            total[key] += 1
            right[key] += correct
    return right, total, float(numpy.mean(confidence))


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, group, _, image, captions, place in questions():
        image.save(folder / f"{name}.png", optimize=True)
        rows.append({"file": f"{name}.png", "group": group, "captions": captions, "right": place})
    (folder / "set.json").write_text(json.dumps({"seed": SEED, "pictures": rows}, indent=1) + "\n")
    print(f"{len(rows)} pictures in {folder}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--template", default="a photo of {}", help="put around every caption")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write the set as PNG files and set.json")
    options = parser.parse_args()
    if options.write:
        return write(options.write)

    right, total, confidence = evaluate(Bundle(options.bundle), options.template)
    print(f'top-1 among {CAPTIONS} captions, seed {SEED}, template "{options.template}"')
    for key in sorted(total, key=lambda k: (k not in TARGETS, "x" not in k, k)):
        rate = right[key] / total[key]
        target = f"  target {TARGETS[key]:.0%}" if key in TARGETS else ""
        print(f"{key:24} {right[key]:5} of {total[key]:5}  {rate:6.1%}{target}")
    print(f"mean score of the first place: {confidence:.3f}")
    missed = [k for k, least in TARGETS.items() if right[k] < least * total[k]]
    if missed:
        sys.exit(f"missed the target for {', '.join(missed)}")


if __name__ == "__main__":
    main()
