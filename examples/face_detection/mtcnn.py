"""MTCNN face detection as one exportable module: three convolutional nets, and tensor operators between them.

    image -> pyramid -> PNet a level -> threshold, NMS -> crops 24 x 24 -> RNet -> NMS -> crops 48 x 48 -> ONet -> NMS -> faces

The nets and the thresholds are those of Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks" (2016); the trained weights come from the installed `facenet-pytorch` wheel. How many boxes pass each stage depends on the
picture, zero included. The size of the picture is fixed when the module is made, so that the pyramid unrolls and all its levels'
candidates meet in one tensor: the program has no loop and no branch.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms, roi_align

PNET_WINDOW, PNET_STRIDE = 12, 2  # pixels of a pyramid level that one PNet answer sees, and the step between two answers


def normalize(pixels: Tensor) -> Tensor:
    """Pixels in 0..255 as the nets were trained on them: about -1..1."""
    return (pixels - 127.5) * 0.0078125


class PNet(nn.Module):
    """Proposes: for each cell, row by row, of a pyramid level [1, 3, h, w], probability and shifts of the edges: [cells, 5]."""

    def __init__(self):
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.prelu1(self.conv1(normalize(pixels)))
        x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        answers = torch.cat((self.conv4_1(x).softmax(dim=1)[:, 1:], self.conv4_2(x)), dim=1)
        return answers.flatten(2)[0].transpose(0, 1)


class RNet(nn.Module):
    """Refines: for crops [n, 3, 24, 24], probability and shifts of the edges: [n, 5]."""

    def __init__(self):
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, crops: Tensor) -> Tensor:
        x = self.prelu1(self.conv1(normalize(crops)))
        x = self.prelu2(self.conv2(F.max_pool2d(x, 3, 2, ceil_mode=True)))
        x = self.prelu3(self.conv3(F.max_pool2d(x, 3, 2, ceil_mode=True)))
        x = self.prelu4(self.dense4(columns_first(x)))
        return torch.cat((self.dense5_1(x).softmax(dim=1)[:, 1:], self.dense5_2(x)), dim=1)


class ONet(nn.Module):
    """Outputs: for crops [n, 3, 48, 48], probability, shifts of the edges, five x and five y of landmarks: [n, 15]."""

    def __init__(self):
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, crops: Tensor) -> Tensor:
        x = self.prelu1(self.conv1(normalize(crops)))
        x = self.prelu2(self.conv2(F.max_pool2d(x, 3, 2, ceil_mode=True)))
        x = self.prelu3(self.conv3(F.max_pool2d(x, 3, 2, ceil_mode=True)))
        x = self.prelu4(self.conv4(F.max_pool2d(x, 2, 2, ceil_mode=True)))
        x = self.prelu5(self.dense5(columns_first(x)))
        return torch.cat((self.dense6_1(x).softmax(dim=1)[:, 1:], self.dense6_2(x), self.dense6_3(x)), dim=1)


def columns_first(x: Tensor) -> Tensor:
    """[n, c, h, w] to [n, w * h * c]: the order in which the weights, trained column-major, expect the features."""
    return x.permute(0, 3, 2, 1).flatten(1)


class FaceDetector(nn.Module):
    """A photograph, uint8 [height, width, 3] in RGB, to its faces, best first.

    Returns boxes [n, 4] (x1, y1, x2, y2), scores [n] in 0..1 and landmarks [n, 5, 2] (x, y of the left eye, right eye, nose and the
    corners of the mouth, as one sees them), float32, in pixels; n is 0 when there is no face. `min_face` is the side in pixels of
    the smallest face to look for, `thresholds` the probabilities that pass the three nets, `shrink` the ratio of two pyramid
    levels. Weights are random until `pretrained` loads them.
    """

    def __init__(self, height: int, width: int, min_face: int = 20, thresholds=(0.6, 0.7, 0.7), shrink: float = 0.709):
        super().__init__()
        if min(height, width) < min_face:
            raise ValueError(f"a photograph of {height} x {width} pixels is smaller than min_face={min_face}")
        self.height, self.width, self.thresholds = height, width, thresholds
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()
        scales = pyramid_scales(min(height, width), min_face, shrink)
        self.level_sizes = [(int(height * scale + 1), int(width * scale + 1)) for scale in scales]
        windows = [level_windows(size, scale) for size, scale in zip(self.level_sizes, scales, strict=True)]
        self.register_buffer("windows", torch.cat(windows))  # [cells of all levels, 4]
        # NMS of one level must not see another's boxes: a shift by more than the picture, level by level, keeps them apart.
        apart = float(2 * max(height, width))
        self.register_buffer("level_offsets", torch.cat([torch.full((len(w), 1), apart * i) for i, w in enumerate(windows)]))

    @classmethod
    def pretrained(cls, height: int, width: int, **options) -> FaceDetector:
        """The detector with the weights in the installed facenet-pytorch wheel. Raises ModuleNotFoundError without it."""
        detector = cls(height, width, **options)
        spec = importlib.util.find_spec("facenet_pytorch")  # found, not imported: the package wants more than its weights need
        if spec is None:
            raise ModuleNotFoundError("the weights are in the facenet-pytorch wheel: pip install --no-deps facenet-pytorch")
        data = Path(spec.submodule_search_locations[0]) / "data"
        for name in ("pnet", "rnet", "onet"):
            getattr(detector, name).load_state_dict(torch.load(data / f"{name}.pt", weights_only=True))
        return detector.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = image.permute(2, 0, 1).unsqueeze(0).to(torch.float32)
        return self.output(pixels, self.refine(pixels, self.propose(pixels)))

    def propose(self, pixels: Tensor) -> Tensor:
        """Square boxes [n, 4] that may hold a face."""
        answers = torch.cat([self.pnet(F.adaptive_avg_pool2d(pixels, size)) for size in self.level_sizes])
        answers, windows, offsets = take(passing(answers, self.thresholds[0]), answers, self.windows, self.level_offsets)
        answers, windows = take(nms(windows + offsets, probability(answers), 0.5), answers, windows)
        answers, windows = take(nms(windows, probability(answers), 0.7), answers, windows)
        return squared(shifted(windows, answers, extra=0))

    def refine(self, pixels: Tensor, boxes: Tensor) -> Tensor:
        """Those of the square boxes [n, 4] that pass RNet, moved to where it sees the face, square again."""
        answers = self.rnet(self.crop(pixels, boxes, 24))
        answers, boxes = take(passing(answers, self.thresholds[1]), answers, boxes)
        answers, boxes = take(nms(boxes, probability(answers), 0.7), answers, boxes)
        return squared(shifted(boxes, answers))

    def output(self, pixels: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Faces among the square boxes [n, 4]: boxes, scores, landmarks."""
        answers = self.onet(self.crop(pixels, boxes, 48))
        answers, boxes = take(passing(answers, self.thresholds[2]), answers, boxes)
        first, last = boxes.unsqueeze(1).split(2, dim=2)
        marks = answers.narrow(1, 5, 10).unflatten(1, (2, 5)).transpose(1, 2) * (last - first + 1) + first - 1
        boxes, scores = shifted(boxes, answers), probability(answers)
        return take(nms(boxes, scores, 0.7), boxes, scores, marks)

    def crop(self, pixels: Tensor, boxes: Tensor, side: int) -> Tensor:
        """The part of each box [n, 4] inside the picture, resized to [n, 3, side, side]; at least one pixel is taken."""
        x1, y1, x2, y2 = boxes.trunc().unbind(dim=1)
        left, top = (x1 - 1).clamp(0, self.width - 1), (y1 - 1).clamp(0, self.height - 1)
        right, bottom = torch.maximum(x2.clamp(max=self.width), left + 1), torch.maximum(y2.clamp(max=self.height), top + 1)
        rois = torch.stack((torch.zeros_like(left), left, top, right, bottom), dim=1)
        return roi_align(pixels, rois, side, aligned=True)


def pyramid_scales(shorter_side: int, min_face: int, shrink: float) -> list[float]:
    """Scales, finest first, at which a face of PNet's window stands for one of `min_face` pixels up to `shorter_side`."""
    scales, scale = [], PNET_WINDOW / min_face
    while shorter_side * scale >= PNET_WINDOW:
        scales.append(scale)
        scale *= shrink
    return scales


def level_windows(size: tuple[int, int], scale: float) -> Tensor:
    """What each PNet answer of a level of `size` sees, in whole pixels of the picture: [cells, 4], row by row."""
    rows, columns = (-(-(side - 2) // PNET_STRIDE) - 4 for side in size)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    corners = PNET_STRIDE * torch.stack((x, y), dim=-1).flatten(0, 1).float()
    return torch.cat((((corners + 1) / scale).floor(), ((corners + PNET_WINDOW) / scale).floor()), dim=1)


def probability(answers: Tensor) -> Tensor:
    """The first column of a net's answers [n, ...]: [n]."""
    return answers.select(1, 0)


def passing(answers: Tensor, threshold: float) -> Tensor:
    """Indices [m] of the answers [n, ...] whose probability reaches the threshold."""
    return (probability(answers) >= threshold).nonzero().squeeze(1)


def take(indices: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The same rows of each tensor."""
    return tuple(tensor.index_select(0, indices) for tensor in tensors)


def shifted(boxes: Tensor, answers: Tensor, extra: int = 1) -> Tensor:
    """Boxes [n, 4] with each edge moved as the answers [n, ...] say, in sides of the box, which are `extra` pixels longer."""
    first, last = boxes.split(2, dim=1)
    sides = last - first + extra
    return boxes + answers.narrow(1, 1, 4) * torch.cat((sides, sides), dim=1)


def squared(boxes: Tensor) -> Tensor:
    """Boxes [n, 4] grown along their shorter side, around their centres."""
    first, last = boxes.split(2, dim=1)
    sides = last - first
    longest = sides.amax(dim=1, keepdim=True)
    corner = first + (sides - longest) * 0.5
    return torch.cat((corner, corner + longest), dim=1)
