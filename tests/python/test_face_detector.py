"""The face detector of examples/face_detection: right for no face, one and many, eagerly, exported, and through Tenure."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "face_detection"))
from mtcnn import FaceDetector
from tenure.prepare import export

SIDE = 224
FACE = slice(20, 244), slice(112, 336)  # rows and columns of skimage's astronaut with her face and nothing like another


def pictures() -> dict[str, tuple[np.ndarray, int]]:
    """Name: picture of SIDE x SIDE, and how many faces are on it."""
    face = skimage.data.astronaut()[FACE]
    half = face[::2, ::2]
    mirrored = half[:, ::-1]
    pair = np.concatenate([np.concatenate([half, mirrored], axis=1), np.full_like(face[: SIDE // 2], 90)])
    collage = np.concatenate([np.concatenate([half, mirrored], axis=1), np.concatenate([mirrored, half], axis=1)])
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3))
    shown = {
        "blank": (np.full((SIDE, SIDE, 3), 127), 0),
        "noise": (noise, 0),
        "face": (face, 1),
        "pair": (pair, 2),
        "collage": (collage, 4),
    }
    return {name: (np.ascontiguousarray(picture, dtype=np.uint8), faces) for name, (picture, faces) in shown.items()}


PICTURES = pictures()


@pytest.fixture(params=PICTURES)
def picture(request) -> tuple[torch.Tensor, int]:
    pixels, faces = PICTURES[request.param]
    return torch.from_numpy(pixels), faces


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector.pretrained(SIDE, SIDE)


@pytest.fixture(scope="module")
def exported(detector) -> torch.export.ExportedProgram:
    with torch.no_grad():  # exported on a picture without a face: nothing may be learned from the example
        return export(detector, (torch.from_numpy(PICTURES["blank"][0]),), None, None)


@pytest.fixture(scope="module")
def exported_module(exported):
    return exported.module()


@pytest.fixture(scope="module")
def reference():
    """facenet-pytorch's own detector. Its package imports what the detector does not need, so the package's body is left out."""
    sys.modules["facenet_pytorch"] = importlib.util.module_from_spec(importlib.util.find_spec("facenet_pytorch"))
    yield importlib.import_module("facenet_pytorch.models.mtcnn").MTCNN(keep_all=True)
    for name in [name for name in sys.modules if name.split(".")[0] == "facenet_pytorch"]:
        del sys.modules[name]


@torch.no_grad()
def test_finds_the_faces_that_are_there(detector, picture):
    image, count = picture
    boxes, scores, landmarks = detector(image)
    assert (boxes.shape, scores.shape, landmarks.shape) == ((count, 4), (count,), (count, 5, 2))
    assert (scores > 0.99).all()
    assert (scores.diff() <= 0).all(), "best first"
    inside = (landmarks > boxes[:, None, :2]) & (landmarks < boxes[:, None, 2:])
    assert inside.all(), "eyes, nose and mouth lie in their face's box"
    left_eye, right_eye, nose, *mouth = landmarks.unbind(dim=1)
    assert (left_eye[:, 0] < right_eye[:, 0]).all()
    assert all((nose[:, 1] < corner[:, 1]).all() for corner in mouth)


@torch.no_grad()
def test_agrees_with_the_detector_that_the_weights_come_from(detector, reference, picture):
    image, count = picture
    boxes, _, landmarks = reference.detect(image.numpy().copy(), landmarks=True)
    if count == 0:
        assert boxes is None
        return
    ours, _, our_landmarks = detector(image)
    nearest = torch.cdist(ours, torch.from_numpy(np.asarray(boxes, dtype=np.float32))).argmin(dim=1)
    assert len(boxes) == len(nearest.unique()) == count
    # Crops are resized by other operators (roi_align, here) than there, so boxes differ by a part of their size.
    sides = (ours[:, 2:] - ours[:, :2]).amax(dim=1)
    off = (ours - torch.from_numpy(np.asarray(boxes, dtype=np.float32))[nearest]).abs().amax(dim=1)
    assert (off < 0.05 * sides).all()
    off = (our_landmarks - torch.from_numpy(np.asarray(landmarks, dtype=np.float32))[nearest]).abs().amax(dim=(1, 2))
    assert (off < 0.05 * sides).all()


@torch.no_grad()
def test_the_exported_program_answers_as_the_module_bit_for_bit(detector, exported_module, picture):
    image, _ = picture
    for got, expected in zip(exported_module(image), detector(image), strict=True):
        assert torch.equal(got, expected)


def test_the_exported_program_calls_torchvisions_operators_and_no_control_flow(exported):
    targets = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert targets.count("torchvision.nms.default") == 4
    assert targets.count("torchvision.roi_align.default") == 2
    assert not [target for target in targets if "higher_order" in target]


def test_a_picture_too_small_for_any_face_is_refused():
    with pytest.raises(ValueError, match="10 x 300 pixels is smaller than min_face=20"):
        FaceDetector(10, 300)


@pytest.fixture(scope="module")
def program(detector, tmp_path_factory):
    pytest.importorskip("tenure._tenure", reason="the extension is not built")
    import tenure

    path = tmp_path_factory.mktemp("faces") / "faces.pt2"
    tenure.compile(detector, (torch.from_numpy(PICTURES["blank"][0]),), backend="openvino").save(path)
    return tenure.load(path)


@torch.no_grad()
def test_tenure_answers_as_eager_within_a_hundredth_of_a_pixel(detector, program, picture):
    image, _ = picture
    expected = detector(image)
    for _ in range(3):  # the first run observes, later ones replay
        for got, wanted in zip(program(image), expected, strict=True):
            assert got.shape == wanted.shape
            torch.testing.assert_close(got, wanted, atol=1e-2, rtol=0)


@torch.no_grad()
def test_tenure_takes_pictures_with_and_without_faces_in_any_order(detector, program):
    held = {}
    for name in ("collage", "blank", "face", "collage", "noise", "pair", "blank", "face"):
        held[name] = program(torch.from_numpy(PICTURES[name][0]))
    for name, faces in held.items():
        for got, wanted in zip(faces, detector(torch.from_numpy(PICTURES[name][0])), strict=True):
            torch.testing.assert_close(got, wanted, atol=1e-2, rtol=0)


def test_tenure_runs_the_three_nets_as_engines(program):
    assert program.stats().engine_blocks >= 3
