"""The two towers of the demonstration CLIP.

The image tower is a vision transformer whose patches come from a small
convolutional stem (Xiao et al., "Early Convolutions Help Transformers See
Better"): with few samples and few minutes it learns shapes and counts that
plain 16- or 32-pixel patches do not. The text tower is CLIP's: a causal
transformer read at the end-of-text token.

Attention is written out in plain matrix products so that the exported graph
holds only basic ONNX operators.
"""

import copy
import math

import torch
from torch import nn

from unseen import excluded_classes

IMAGE_SIZE = 224
HALF_SIZE = IMAGE_SIZE // 2
CONTEXT_LENGTH = 77
EMBEDDING_DIMENSION = 128

# (x / 255 - MEAN) / STD, per channel.
IMAGE_MEAN = (0.5, 0.5, 0.5)
IMAGE_STD = (0.25, 0.25, 0.25)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x, mask=None):
        batch, length, _ = x.shape
        split = (batch, length, self.heads, self.head_width)
        q, k, v = (part.reshape(split).transpose(1, 2) for part in self.qkv(x).split(self.heads * self.head_width, -1))
        scores = q @ k.transpose(-2, -1) * self.head_width**-0.5
        if mask is not None:
            scores = scores + mask
        x = (scores.softmax(-1) @ v).transpose(1, 2)
        return self.out(x.reshape(batch, length, self.heads * self.head_width))


class Block(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, mask=None):
        x = x + self.attention(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


def convolution(inputs, outputs, stride):
    convolve = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [convolve, nn.BatchNorm2d(outputs), nn.ReLU()]


class ImageTower(nn.Module):
    """`pixel_values` float32 [batch, 3, 112, 112] → `image_embeds` [batch, 128].

    Drawn pictures lose nothing that matters at half the size, and training takes
    a quarter of the time.
    """

    def __init__(self, width=128, depth=3, heads=4, stem=(24, 48, 96)):
        super().__init__()
        channels = (3, *stem)
        layers = []
        for inputs, outputs in zip(channels, channels[1:]):
            layers += convolution(inputs, outputs, stride=2)
        layers += convolution(stem[-1], stem[-1], stride=1)
        layers += convolution(stem[-1], width, stride=2)
        self.stem = nn.Sequential(*layers[:-1])
        side = HALF_SIZE // 2 ** (len(stem) + 1)
        # Large from the start, so that places are learned as soon as colours.
        self.positional_embedding = nn.Parameter(0.3 * torch.randn(side * side, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, EMBEDDING_DIMENSION, bias=False)

    def forward(self, pixel_values):
        x = self.stem(pixel_values).flatten(2).transpose(1, 2)
        x = x + self.positional_embedding
        for block in self.blocks:
            x = block(x)
        return self.projection(self.norm(x.mean(1)))

    def for_whole_pictures(self):
        """The same tower for pictures of twice the side, [batch, 3, 224, 224].

        Halving a picture and then convolving it 3 x 3 is one convolution, 6 x 6.
        """
        tower = copy.deepcopy(self)
        weight = self.stem[0].weight.detach().repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
        tower.stem[0] = nn.Conv2d(3, len(weight), 6, stride=4, padding=2, bias=False)
        tower.stem[0].weight.data = weight
        return tower


class TextTower(nn.Module):
    """`input_ids` int64 [batch, sequence ≤ 77] → `text_embeds` [batch, 128]."""

    def __init__(self, vocabulary, width=128, depth=2, heads=4):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(CONTEXT_LENGTH, width))
        mask = torch.full((CONTEXT_LENGTH, CONTEXT_LENGTH), -1e4).triu(1)
        self.register_buffer("mask", mask, persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, EMBEDDING_DIMENSION, bias=False)

    def forward(self, input_ids):
        length = input_ids.shape[1]
        x = self.token_embedding(input_ids) + self.positional_embedding[:length]
        mask = self.mask[:length, :length]
        for block in self.blocks:
            x = block(x, mask)
        # End-of-text has the highest id, so argmax finds its row.
        end = input_ids.int().argmax(1).reshape(-1, 1, 1).repeat(1, 1, x.shape[2])
        return self.projection(self.norm(x.gather(1, end)[:, 0]))


class Clip(nn.Module):
    """Both towers and the learned logit scale (kept as its logarithm)."""

    def __init__(self, vocabulary):
        super().__init__()
        self.image = ImageTower()
        self.text = TextTower(vocabulary)
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def logits(self, image, text):
        """Cosines of normalised embeddings times logit scale, [pictures, texts]."""
        return self.log_logit_scale.exp() * image @ text.t()


class AttributeHeads(nn.Module):
    """Reads each attribute off an embedding; for training only.

    Both towers share the heads, so "red" has to lie in one direction for pictures
    and for captions alike. This teaches places, numbers and shapes in a fraction
    of the time that captions alone take.
    """

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.heads = nn.Linear(EMBEDDING_DIMENSION, sum(sizes))

    def loss(self, embeddings, codes):
        """Mean cross entropy per attribute; codes [batch, attributes], -1 where unknown."""
        logits = self.heads(embeddings * EMBEDDING_DIMENSION**0.5).split(self.sizes, 1)
        losses = []
        for attribute, part in enumerate(logits):
            code = codes[:, attribute]
            if (code >= 0).any():
                part = part.masked_fill(excluded_classes(codes, attribute), -1e4)
                losses.append(nn.functional.cross_entropy(part, code, ignore_index=-1))
        return sum(losses) / len(losses)
