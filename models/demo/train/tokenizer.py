"""Trains the byte-level BPE vocabulary and encodes captions with it.

The file written has the form of OpenAI's CLIP tokenizer as Hugging Face's
`tokenizers` reads it. Every byte is in the vocabulary, alone and as the end of
a word, so that any text can be encoded.
"""

import collections
import json
import re

START, END = "<|startoftext|>", "<|endoftext|>"
_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# The same pattern for Python's `re`, which has no \p{…}.
_WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")


def _byte_symbols():
    """GPT-2's printable stand-in for each byte, in its order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + n) for n, b in enumerate(others)}


_SYMBOLS = _byte_symbols()


def _split(text):
    """Words as tuples of symbols, the last one marked as the end of the word."""
    for word in _WORDS.findall(text.lower()):
        symbols = [_SYMBOLS[b] for b in word.encode()]
        yield (*symbols[:-1], symbols[-1] + "</w>")


def _merge(symbols, pair):
    merged, n = [], 0
    while n < len(symbols):
        if symbols[n : n + 2] == pair:
            merged.append(pair[0] + pair[1])
            n += 2
        else:
            merged.append(symbols[n])
            n += 1
    return tuple(merged)


def train(captions, size):
    """The contents of `tokenizer.json` for at most `size` tokens."""
    words = collections.Counter(word for text in captions for word in _split(text))
    alphabet = list(_SYMBOLS.values())
    tokens = alphabet + [s + "</w>" for s in alphabet]
    merges = []
    while len(tokens) < size - 2:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(best)
        if best[0] + best[1] not in tokens:
            tokens.append(best[0] + best[1])
        words = collections.Counter({_merge(w, best): c for w, c in words.items()})
    return _document(tokens, merges)


def _document(tokens, merges):
    start, end = len(tokens), len(tokens) + 1  # end-of-text has the highest id
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": start, "content": START, **special}, {"id": end, "content": END, **special}],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Lowercase"},
            ],
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": _PATTERN}, "behavior": "Removed", "invert": True},
                byte_level | {"add_prefix_space": False},
            ],
        },
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": [END, end],
            "cls": [START, start],
            "trim_offsets": False,
            "add_prefix_space": False,
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": END,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: n for n, token in enumerate([*tokens, START, END])},
            "merges": [" ".join(m) for m in merges],
        },
    }


class Tokenizer:
    """Encodes captions as the file says; enough for the captions of this folder."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            model = json.load(file)["model"]
        self.vocabulary = model["vocab"]
        self.ranks = {tuple(m.split(" ")) if isinstance(m, str) else tuple(m): n for n, m in enumerate(model["merges"])}
        self.start, self.end = self.vocabulary[START], self.vocabulary[END]
        self._words = {}

    def __len__(self):
        return len(self.vocabulary)

    def _word(self, word):
        if word not in self._words:
            symbols = word
            while len(symbols) > 1:
                pair = min(zip(symbols, symbols[1:]), key=lambda p: self.ranks.get(p, len(self.ranks)))
                if pair not in self.ranks:
                    break
                symbols = _merge(symbols, pair)
            self._words[word] = [self.vocabulary[s] for s in symbols]
        return self._words[word]

    def encode(self, text, limit=77):
        """Ids with start- and end-of-text, at most `limit`."""
        ids = [i for word in _split(text) for i in self._word(word)]
        return [self.start, *ids[: limit - 2], self.end]

    def batch(self, texts):
        """Equal-length rows, filled up with 0 after end-of-text."""
        rows = [self.encode(t) for t in texts]
        length = max(map(len, rows))
        return [row + [0] * (length - len(row)) for row in rows]
