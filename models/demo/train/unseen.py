"""Keeps the combinations held out for evaluation from counting as evidence.

Training never shows a black star. Left alone, a model learns from this that what
is black is no star: every red star is a wrong answer for every black picture,
and no star is ever a right one. So, where a picture and a caption (or a class)
would cross to a held-out combination, that pair is left out of the loss.
"""

from itertools import permutations

import torch

from attributes import ATTRIBUTES, Subject, held_out_pairs

_NAMES = list(ATTRIBUTES)


def _is_held_out(first, one, second, other):
    return bool(held_out_pairs(Subject(**({"kind": "shapes"} | {first: one, second: other}))))


def _tables():
    """For each pair of attributes that has any: which values are held out together."""
    tables = {}
    for (a, first), (b, second) in permutations(enumerate(_NAMES), 2):
        table = torch.tensor(
            [[_is_held_out(first, one, second, other) for other in ATTRIBUTES[second]] for one in ATTRIBUTES[first]]
        )
        if table.any():
            tables[a, b] = table
    return tables


_TABLES = _tables()


def crossing(left, right):
    """Whether an attribute of one and another of the other are held out together.

    Takes codes [n, attributes] and [m, attributes]; returns booleans [n, m].
    """
    result = torch.zeros(len(left), len(right), dtype=torch.bool)
    for (a, b), table in _TABLES.items():
        known = (left[:, a] >= 0).unsqueeze(1) & (right[:, b] >= 0)
        result |= known & table[left[:, a].clamp(min=0)][:, right[:, b].clamp(min=0)]
    return result


def excluded_classes(codes, attribute):
    """Values of one attribute that are held out with what else is known, [batch, values]."""
    result = torch.zeros(len(codes), len(ATTRIBUTES[_NAMES[attribute]]), dtype=torch.bool)
    for (a, b), table in _TABLES.items():
        if b == attribute:
            result |= table[codes[:, a].clamp(min=0)] & (codes[:, a] >= 0).unsqueeze(1)
    return result
