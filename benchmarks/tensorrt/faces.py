"""The three nets of examples/face_detection (MTCNN) as a model whose sizes do not depend on data."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "face_detection"))
from mtcnn import FaceDetector, probability, shifted, squared, take

SIDE = 224


class Faces(nn.Module):
    """Pixels [1, 3, SIDE, SIDE] in 0..255 to boxes, scores and landmarks of the best `candidates`.

    As many pass each net, where the detector asks for a probability, and there is no NMS; the rest is the detector's: its pyramid,
    its nets, its crops. Weights are random, since the trained ones are in a package of their own.
    """

    def __init__(self, candidates: int = 32):
        super().__init__()
        self.detector, self.candidates = FaceDetector(SIDE, SIDE), candidates

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        detector = self.detector
        answers = torch.cat([detector.pnet(F.adaptive_avg_pool2d(pixels, size)) for size in detector.level_sizes])
        best = probability(answers).topk(self.candidates).indices
        answers, boxes = take(best, answers, detector.windows)
        boxes = squared(shifted(boxes, answers, extra=0))
        boxes = squared(shifted(boxes, detector.rnet(detector.crop(pixels, boxes, 24))))
        answers = detector.onet(detector.crop(pixels, boxes, 48))
        return shifted(boxes, answers), probability(answers), answers.narrow(1, 5, 10).unflatten(1, (2, 5)).transpose(1, 2)
