"""The models of the comparison with Torch-TensorRT: some operators of each are left to PyTorch, between the engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Chain(nn.Module):
    """32 times linear and relu in an engine, sin and add in PyTorch: the cost of calls."""

    def __init__(self, width: int = 256, depth: int = 32):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(torch.relu(layer(x))) + 0.5
        return x


class Attention(nn.Module):
    """One layer of BERT (Devlin et al., 2019): attention, then a network of two layers, each added to what came in."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        query, key, value = self.into(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, width)
        x = self.norm1(x + self.out(seen))
        return self.norm2(x + self.narrow(F.gelu(self.wide(x))))


class Bert(nn.Module):
    """BERT-base's encoder, with random weights: 12 layers, 768 wide, 12 heads. Returns all positions and the pooled first one."""

    def __init__(self, width: int = 768, layers: int = 12, heads: int = 12, words: int = 30522, positions: int = 512):
        super().__init__()
        self.words, self.positions, self.norm = nn.Embedding(words, width), nn.Embedding(positions, width), nn.LayerNorm(width)
        self.layers = nn.ModuleList(Attention(width, heads) for _ in range(layers))
        self.pool = nn.Linear(width, width)

    def forward(self, words: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.words(words) + self.positions.weight[: words.shape[1]])
        for layer in self.layers:
            x = layer(x)
        return x, torch.tanh(self.pool(x[:, 0]))


class Pair(nn.Sequential):
    def __init__(self, inside: int, outside: int):
        convolutions = [nn.Conv2d(channels, outside, 3, padding=1) for channels in (inside, outside)]
        super().__init__(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU())


class UNet(nn.Module):
    """Ronneberger et al., 2015, with four levels: what goes down is kept until it is needed on the way up."""

    def __init__(self, channels: Sequence[int] = (32, 64, 128, 256)):
        super().__init__()
        self.down = nn.ModuleList(Pair(inside, outside) for inside, outside in zip((3, *channels), channels, strict=False))
        self.up = nn.ModuleList(Pair(3 * channels[i], channels[i]) for i in reversed(range(len(channels) - 1)))
        self.last = nn.Conv2d(channels[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for level in self.down:
            kept.append(x := level(F.max_pool2d(x, 2) if kept else x))
        kept.pop()
        for level in self.up:
            x = level(torch.cat((kept.pop(), F.interpolate(x, scale_factor=2.0)), dim=1))
        return self.last(x)


def resnet18() -> nn.Module:
    import torchvision

    return torchvision.models.resnet18()


def faces() -> nn.Module:
    from faces import Faces

    return Faces()


@dataclass(frozen=True)
class Case:
    model: Callable[[], nn.Module]
    input: Callable[[], Tensor]  # another one in each call
    executed: Sequence[str]  # what PyTorch executes


CASES = {
    "chain32": Case(Chain, lambda: torch.randn(8, 256), ("sin.default", "add.Tensor")),
    "resnet18": Case(resnet18, lambda: torch.randn(1, 3, 224, 224), ("relu.default",)),
    "bert": Case(Bert, lambda: torch.randint(0, 30522, (1, 128)), ("gelu.default",)),
    "unet": Case(UNet, lambda: torch.randn(1, 3, 256, 256), ("relu.default",)),
    "faces": Case(faces, lambda: 255 * torch.rand(1, 3, 224, 224), ("topk.default",)),
}
