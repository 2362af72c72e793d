"""Chooses what to draw, and what a caption claims of it, true or nearly true."""

import random

from attributes import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLOURS,
    PATTERNS,
    POSITIONS,
    SCENES,
    SHAPES,
    Subject,
    held_out_pairs,
)

# Shelves are what many users try first.
_SCENE_WEIGHTS = [4 if "shelf" in kind else 1 for kind in SCENES]

# Colours that do not show on a background, or can be taken for it.
_UNCLEAR = {("white", "gray"), ("white", "pink"), ("white", "yellow"), ("brown", "black"), ("gray", "black")}


def _allowed(subject, held_out):
    return bool(held_out_pairs(subject)) == held_out


def random_shapes(rng, held_out=False):
    """A picture of shapes; with `held_out`, one with a combination that training never sees."""
    while True:
        count = rng.choice(["1", "1", "1", "1", "2", "3", "4", "5"])
        size, position, pattern = "medium", None, "solid"
        if count == "1":
            size = rng.choice(["small", "medium", "large"])
            position = "center" if size == "large" or rng.random() < 0.15 else rng.choice(POSITIONS)
        if size == "large" or (size == "medium" and count in "123"):
            pattern = rng.choice(["solid", "solid", *PATTERNS[1:]])
        background = rng.choice(["white", "white", "white", *BACKGROUNDS])
        subject = Subject("shapes", rng.choice(SHAPES), rng.choice(COLOURS), count, size, position, pattern, background)
        pair = (subject.colour, background)
        if pair[0] == pair[1] or pair in _UNCLEAR:
            continue
        if _allowed(subject, held_out):
            return subject


def random_scene(rng, kind=None, held_out=False):
    """A picture of a scene; with `held_out`, one in a colour that training never sees it in."""
    while True:
        chosen = kind or rng.choices(list(SCENES), _SCENE_WEIGHTS)[0]
        colours = SCENES[chosen]
        subject = Subject(chosen, colour=rng.choice(colours) if colours else None)
        if _allowed(subject, held_out):
            return subject


def has_held_out_colour(kind):
    return any(held_out_pairs(Subject(kind, colour=c)) for c in SCENES[kind])


def true_claim(subject, rng):
    """A part of the picture's attributes, as a person might mention them."""
    if subject.kind != "shapes":
        keep = subject.colour is not None and rng.random() < 0.7
        return subject if keep else subject.with_(colour=None)
    style = rng.random()
    if style < 0.04:  # "something red"
        return Subject("shapes", colour=subject.colour)
    if style < 0.08:  # "three shapes"
        return Subject("shapes", count=subject.count)
    claim = subject
    if rng.random() < 0.12:
        claim = claim.with_(colour=None)
    if rng.random() < (0.6 if subject.size == "medium" else 0.5):
        claim = claim.with_(size=None)
    if rng.random() < 0.45:
        claim = claim.with_(position=None)
    if rng.random() < (0.85 if subject.pattern == "solid" else 0.2):
        claim = claim.with_(pattern=None)
    if rng.random() < 0.8:
        claim = claim.with_(background=None)
    if claim.size == "medium":
        claim = claim.with_(size=None)  # nobody says "medium"
    return claim


def variations(claim):
    """Every claim that differs in exactly one of the attributes that `claim` mentions."""
    if claim.kind != "shapes":
        return [claim.with_(colour=c) for c in SCENES[claim.kind] if claim.colour and c != claim.colour]
    result = []
    for name, values in ATTRIBUTES.items():
        value = getattr(claim, name)
        if name == "kind" or value is None:
            continue
        if name == "size":
            values = ["small", "large"]
        for other in values:
            changed = claim.with_(**{name: other})
            one_only = changed.size or changed.position
            if other == value or (name == "count" and other != "1" and one_only):
                continue
            if changed.colour and changed.colour == changed.background:
                continue
            result.append(changed)
    return result


def false_claims(claim, rng, n):
    """`n` claims for training, each false by one attribute where possible."""
    options = [c for c in variations(claim) if not held_out_pairs(c)]
    by_attribute = {}
    for option in options:
        changed = next(k for k in ATTRIBUTES if getattr(option, k) != getattr(claim, k))
        by_attribute.setdefault(changed, []).append(option)
    result = []
    while by_attribute and len(result) < n:
        name = rng.choice(list(by_attribute))
        result.append(by_attribute[name].pop(rng.randrange(len(by_attribute[name]))))
        if not by_attribute[name]:
            del by_attribute[name]
    while len(result) < n:
        other = random_scene(rng) if claim.kind != "shapes" or rng.random() < 0.5 else random_shapes(rng)
        if other.kind != claim.kind or other.kind == "shapes" and not claim.shape:
            other = true_claim(other, rng)
            if other.kind != claim.kind:
                result.append(other)
    return result


def random_subject(rng):
    """A training picture: shapes more often than scenes."""
    return random_shapes(rng) if rng.random() < 0.6 else random_scene(rng)


def seeded(*parts):
    """A random source of its own for each purpose."""
    return random.Random("/".join(map(str, parts)))
