"""A small decoder-only transformer that writes one token at a time, with its keys and values cached in buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Size:
    vocabulary: int = 512
    context: int = 256  # positions that the cache has room for
    width: int = 128
    heads: int = 4
    layers: int = 4


class Attention(nn.Module):
    """Self-attention of one new position to itself and all before it, whose keys and values are in the cache."""

    def __init__(self, size: Size):
        super().__init__()
        self.heads = size.heads
        self.mix_in, self.mix_out = nn.Linear(size.width, 3 * size.width), nn.Linear(size.width, size.width)
        cache = (1, size.heads, size.context, size.width // size.heads)
        self.register_buffer("keys", torch.zeros(cache))
        self.register_buffer("values", torch.zeros(cache))

    def forward(self, x: Tensor, position: Tensor, seen: Tensor) -> Tensor:
        query, key, value = self.mix_in(x).view(1, 1, 3 * self.heads, -1).transpose(1, 2).chunk(3, dim=1)
        self.keys.index_copy_(2, position, key)
        self.values.index_copy_(2, position, value)
        mixed = F.scaled_dot_product_attention(query, self.keys, self.values, attn_mask=seen)
        return self.mix_out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        self.attention = Attention(size)
        self.before_attention, self.before_feed_forward = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.feed_forward = nn.Sequential(nn.Linear(size.width, 4 * size.width), nn.GELU(), nn.Linear(4 * size.width, size.width))

    def forward(self, x: Tensor, position: Tensor, seen: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x), position, seen)
        return x + self.feed_forward(self.before_feed_forward(x))


class Decoder(nn.Module):
    """forward(token [1], position [1]), both int64 -> the likeliest next token [1] and the logits [vocabulary].

    Positions come in order from 0. The weights are random, fixed by `seed`: what is written has no meaning, but hangs on all that
    was read.
    """

    def __init__(self, size: Size | None = None, seed: int = 1):
        super().__init__()
        size = size or Size()
        generator = torch.Generator().manual_seed(seed)
        self.tokens, self.positions = nn.Embedding(size.vocabulary, size.width), nn.Embedding(size.context, size.width)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.last_norm, self.head = nn.LayerNorm(size.width), nn.Linear(size.width, size.vocabulary)
        self.register_buffer("every_position", torch.arange(size.context), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=generator)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=generator)

    def forward(self, token: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        x = (self.tokens(token) + self.positions(position)).unsqueeze(0)
        seen = (self.every_position <= position).unsqueeze(0)
        for layer in self.layers:
            x = layer(x, position, seen)
        logits = self.head(self.last_norm(x)).flatten()
        return logits.argmax(0, keepdim=True), logits

    def clear(self) -> None:
        """An empty cache, for a new text."""
        for name, buffer in self.named_buffers():
            if name.endswith(("keys", "values")):
                buffer.zero_()


Step = Callable[[Tensor, Tensor], Sequence[Tensor]]  # (token, position) -> (next token, logits)


def decode(step: Step, prompt: Sequence[int], count: int, watch: Callable[[Tensor], None] | None = None) -> list[int]:
    """Reads the prompt and writes `count` tokens after it, the likeliest each time. `watch` is called with the logits of each."""
    read, positions = torch.tensor(prompt).split(1), torch.arange(len(prompt) + count - 1).split(1)
    written: list[int] = []
    for index, position in enumerate(positions):
        if index < len(read):
            token = read[index]
        token, logits = step(token, position)
        if index >= len(read) - 1:
            written.append(int(token))
            if watch is not None:
                watch(logits)
    return written
