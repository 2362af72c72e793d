"""CLIP in plain PyTorch with seeded random weights: what benchmarks and fixtures are exported from.

The architecture is that of OpenAI's ViT models (pre-norm transformers, QuickGELU, class token, causal
text encoder pooled at the highest token id). Nothing is trained. Works with PyTorch 1.13 and later.
"""

from dataclasses import dataclass

import torch
from torch import nn

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Shape:
    """Sizes of a CLIP model."""

    dimension: int
    image_size: int
    patch: int
    image_width: int
    image_layers: int
    vocabulary: int
    context_length: int
    text_width: int
    text_layers: int
    head_width: int = 64


VIT_B_32 = Shape(
    dimension=512, image_size=224, patch=32, image_width=768, image_layers=12,
    vocabulary=49408, context_length=77, text_width=512, text_layers=12,
)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, mask):
        n, length, width = x.shape
        head = width // self.heads

        def split(y):
            return y.reshape(n, length, self.heads, head).transpose(1, 2)

        q, k, v = split(self.q(x)) * head**-0.5, split(self.k(x)), split(self.v(x))
        scores = q @ k.transpose(-1, -2)
        if mask is not None:
            scores = scores + mask
        mixed = scores.softmax(dim=-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(n, length, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, mask=None):
        x = x + self.attention(self.norm1(x), mask)
        h = self.up(self.norm2(x))
        return x + self.down(h * torch.sigmoid(1.702 * h))


class ImageEncoder(nn.Module):
    """`[N, 3, S, S]` normalised pixels to `[N, D]`."""

    def __init__(self, shape):
        super().__init__()
        width = shape.image_width
        self.patches = nn.Conv2d(3, width, shape.patch, shape.patch, bias=False)
        self.class_token = nn.Parameter(torch.empty(width))
        self.positions = nn.Parameter(torch.empty((shape.image_size // shape.patch) ** 2 + 1, width))
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, width // shape.head_width) for _ in range(shape.image_layers))
        self.projection = nn.Linear(width, shape.dimension, bias=False)

    def forward(self, pixels):
        x = self.patches(pixels).flatten(2).transpose(1, 2)
        token = self.class_token.expand(x.shape[0], 1, -1)
        x = self.norm_in(torch.cat([token, x], dim=1) + self.positions)
        for block in self.blocks:
            x = block(x)
        return self.projection(self.norm_out(x[:, 0]))


class TextEncoder(nn.Module):
    """`[N, L]` token ids to `[N, D]`, taken at the highest id: end-of-text."""

    def __init__(self, shape):
        super().__init__()
        width, length = shape.text_width, shape.context_length
        self.tokens = nn.Embedding(shape.vocabulary, width)
        self.positions = nn.Parameter(torch.empty(length, width))
        self.blocks = nn.ModuleList(Block(width, width // shape.head_width) for _ in range(shape.text_layers))
        self.norm_out = nn.LayerNorm(width)
        self.projection = nn.Linear(width, shape.dimension, bias=False)
        causal = torch.full((length, length), float("-inf")).triu(1)
        self.register_buffer("causal", causal)

    def forward(self, input_ids):
        length = input_ids.shape[1]
        x = self.tokens(input_ids) + self.positions[:length]
        mask = self.causal[:length, :length]
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm_out(x)
        end = input_ids.argmax(dim=-1)
        x = torch.gather(x, 1, end.reshape(-1, 1, 1).expand(-1, 1, x.shape[-1])).squeeze(1)
        return self.projection(x)


def randomize(module, generator):
    """Draws weights that keep inputs apart.

    With the usual small initial weights a deep transformer maps everything to nearly one direction, and
    a comparison of embeddings would prove nothing. Here each layer keeps its input's variance.
    """
    with torch.no_grad():
        for child in module.modules():
            if isinstance(child, nn.Linear):
                fan_in = child.weight.shape[1]
                child.weight.normal_(0, 1.4 * fan_in**-0.5, generator=generator)
                if child.bias is not None:
                    child.bias.normal_(0, 0.02, generator=generator)
            elif isinstance(child, nn.Conv2d):
                child.weight.normal_(0, child.weight[0].numel() ** -0.5, generator=generator)
            elif isinstance(child, nn.LayerNorm):
                child.weight.normal_(1, 0.1, generator=generator)
                child.bias.normal_(0, 0.1, generator=generator)
            elif isinstance(child, nn.Embedding):
                child.weight.normal_(0, 1, generator=generator)
        for name, parameter in module.named_parameters():
            if name in ("class_token", "positions"):
                parameter.normal_(0, 0.3, generator=generator)
    return module.eval()


def encoders(shape, seed=0):
    """The image and the text encoder."""
    generator = torch.Generator().manual_seed(seed)
    return randomize(ImageEncoder(shape), generator), randomize(TextEncoder(shape), generator)


def normalize_pixels(pictures):
    """`[N, S, S, 3]` bytes to what the image encoder takes."""
    pixels = torch.as_tensor(pictures).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(MEAN).reshape(3, 1, 1)) / torch.tensor(STD).reshape(3, 1, 1)


def export(encoder, example, path, input_name, output_name, dynamic=True):
    """Writes ONNX, opset 14."""
    axes = {input_name: {0: "batch"}, output_name: {0: "batch"}}
    if input_name == "input_ids":
        axes[input_name][1] = "sequence"
    arguments = dict(
        input_names=[input_name], output_names=[output_name], opset_version=14,
        dynamic_axes=axes if dynamic else None, do_constant_folding=True,
    )
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 5):
        arguments["dynamo"] = False
    torch.onnx.export(encoder, (example,), str(path), **arguments)
