"""Finds the face on a photograph four ways: PyTorch, torch.compile with OpenVINO, Tenure from Python, Tenure from C++.

Compiles the detector of mtcnn.py with Tenure, saves it as build/demo/faces.pt2, loads that file here and in the C++ program
run_faces, prints one table of what each way costs, and draws the faces into build/demo/faces.png. Exits with 1 and a reason if no
face is found or if a box lies more than half a pixel from eager PyTorch's.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import skimage.data
import torch
import torchvision
from mtcnn import FaceDetector
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table
from torch import Tensor

import tenure

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 0.5  # pixels between a box and eager PyTorch's
ROUNDS = 5
EAGER = "PyTorch eager"
console = Console(width=None if sys.stdout.isatty() else 120)


class DemoError(Exception):
    """The demo did not show what it is there to show; the text says why."""


@dataclass(frozen=True)
class Faces:
    """Boxes [n, 4] and landmarks [n, 5, 2] in pixels, scores [n]."""

    boxes: Tensor
    scores: Tensor
    landmarks: Tensor

    def largest_difference(self, other: Faces) -> float:
        """In pixels, over boxes and landmarks; infinite when the numbers of faces differ."""
        if len(self.boxes) != len(other.boxes):
            return float("inf")
        pairs = ((self.boxes, other.boxes), (self.landmarks, other.landmarks))
        return max((a - b).abs().max().item() if a.numel() else 0.0 for a, b in pairs)


@dataclass
class Way:
    """One way to run the detector, with what was measured of it."""

    name: str
    find: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]] | None = None  # None: another process, or not possible
    faces: Faces | None = None
    milliseconds: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    failure: str = ""

    def warm_up(self, image: Tensor) -> None:
        for _ in range(3):
            self.faces = Faces(*self.find(image))

    def time(self, image: Tensor, runs: int) -> None:
        self.find(image)
        for _ in range(runs):
            start = time.perf_counter()
            self.find(image)
            self.milliseconds.append(1000 * (time.perf_counter() - start))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=40, help="timed runs of each way")
    parser.add_argument("--binary", type=Path, default=ROOT / "build/release/examples/run_faces", help="the C++ program")
    parser.add_argument("--output", type=Path, default=ROOT / "build/demo", help="folder for faces.pt2, photo.rgb and faces.png")
    options = parser.parse_args()
    try:
        with torch.inference_mode():
            demonstrate(options.output, options.binary, runs_a_round=max(1, options.runs // ROUNDS))
    except (DemoError, tenure.Error) as error:
        sys.exit(f"demo: {error}")


def demonstrate(output: Path, binary: Path, runs_a_round: int) -> None:
    output.mkdir(parents=True, exist_ok=True)
    photo = torch.from_numpy(skimage.data.astronaut())
    detector = FaceDetector.pretrained(*photo.shape[:2])
    model, pixels = output / "faces.pt2", output / "photo.rgb"
    pixels.write_bytes(photo.numpy().tobytes())

    say(f"Tenure compiles and saves {model}")
    tenure.compile(detector, (photo,), backend="openvino").save(model)
    program = tenure.load(model)
    say('torch.compile(backend="openvino") compiles: up to a minute')
    eager, inside, outside = Way(EAGER, detector), Way("Tenure, Python", program), Way("Tenure, C++")
    ways = [eager, compiled_by_torch(detector, photo), inside, outside]

    say(f"{ROUNDS} rounds of {runs_a_round} timed runs each")
    local = [way for way in ways if way.find is not None]
    for way in local:
        way.warm_up(photo)
    for _ in range(ROUNDS):
        for way in local:
            way.time(photo, runs_a_round)
        run_in_cpp(outside, binary, model, pixels, photo.shape, runs_a_round)
    for way in local:
        way.counts["allocations"] = count_allocations(way.find, photo)
    inside.counts |= tenure_counts(program)

    console.print(comparison(ways))
    draw(photo, inside.faces, output / "faces.png")
    say(f"The picture: {output / 'faces.png'}")
    judge(eager, (inside, outside))


def say(text: str) -> None:
    console.print(f"[bold green]·[/] {text}")


def compiled_by_torch(detector: FaceDetector, photo: Tensor) -> Way:
    """torch.compile's way; it breaks the graph where the number of boxes depends on the picture."""
    way = Way('torch.compile(backend="openvino")')
    torch._logging.set_logs(all=logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)  # torchvision's shape rules, each time they are traced
    try:
        import openvino.torch  # noqa: F401  registers the backend

        compiled = torch.compile(detector, backend="openvino")
        compiled(photo)
        way.find = compiled
        way.counts["graphs"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    except Exception as error:  # whatever the peer's compiler raises belongs in the table, not in a traceback
        way.failure = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
    return way


def run_in_cpp(way: Way, binary: Path, model: Path, pixels: Path, shape: tuple[int, ...], runs: int) -> None:
    """Runs the saved program in a process without Python, and adds what it measured."""
    if not binary.exists():
        raise DemoError(f"{binary} is missing; build it (./dev build) or name it with --binary")
    torch_libraries, torchvision_library = Path(torch.__file__).parent / "lib", Path(torchvision.__file__).parent / "_C.so"
    libraries = (torch_libraries / "libtorch.so", binary.parent / "libno_python.so", torchvision_library)
    command = [binary, model, pixels, *map(str, shape[:2]), "--runs", str(runs)]
    for library in libraries:
        command += ["--library", library]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DemoError(f"{binary.name} failed: {done.stderr.strip()}")
    answer = json.loads(done.stdout)
    way.milliseconds += answer["milliseconds"]
    empty = ((0, 4), (0,), (0, 5, 2))
    names = ("boxes", "scores", "landmarks")
    way.faces = Faces(*(torch.tensor(answer[name]).reshape(-1, *size[1:]) for name, size in zip(names, empty, strict=True)))
    way.counts = answer["counts"]


def count_allocations(find: Callable, photo: Tensor) -> int:
    """Allocations that PyTorch's CPU allocator served in one run."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # else it complains of a machine without a GPU
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        find(photo)
    return sum(event.name() == "[memory]" and event.nbytes() > 0 for event in profile.kineto_results.events())


def tenure_counts(program: tenure.Program) -> dict[str, int]:
    stats = program.stats()
    names = ("engine_blocks", "aten_blocks", "standing_bytes", "leased_bytes", "fresh_bytes")
    return {name: getattr(stats, name) for name in names} | {"allocations": stats.last_run_allocations}


def comparison(ways: list[Way]) -> Table:
    """One column a way, one row a measure."""
    eager = next(way for way in ways if way.name == EAGER)
    failures = "".join(f"\n{way.name}: {way.failure}" for way in ways if way.failure)
    table = Table(title="Faces on a photograph, 512 x 512", caption=f"a dash: does not apply{failures}")
    table.add_column("")
    for way in ways:
        table.add_column(way.name.replace("(", "\n("), justify="right")

    def row(label: str, cell: Callable[[Way], str]) -> None:
        table.add_row(label, *("n/a" if way.failure else cell(way) for way in ways))

    def count(name: str) -> Callable[[Way], str]:
        return lambda way: f"{way.counts[name]:,}" if name in way.counts else "-"

    row("ms a run, median", lambda way: f"{statistics.median(way.milliseconds):.1f}")
    row(
        "pixels off eager, at most",
        lambda way: "-" if way is eager else f"{way.faces.largest_difference(eager.faces):.1e}",
    )
    row("faces", lambda way: str(len(way.faces.boxes)))
    row("graphs", count("graphs"))
    row("engine blocks", count("engine_blocks"))
    row("aten blocks", count("aten_blocks"))
    row("bytes standing", count("standing_bytes"))
    row("bytes leased", count("leased_bytes"))
    row("bytes fresh", count("fresh_bytes"))
    row("allocations a run", count("allocations"))
    return table


def draw(photo: Tensor, faces: Faces, path: Path) -> None:
    """The photograph with boxes, scores and landmarks, as a PNG file."""
    picture = Image.fromarray(photo.numpy())
    pen = ImageDraw.Draw(picture)
    for box, score, marks in zip(faces.boxes.tolist(), faces.scores.tolist(), faces.landmarks.tolist(), strict=True):
        pen.rectangle(box, outline=(60, 255, 90), width=3)
        label = (box[0] + 4, box[1] + 3)
        pen.rectangle(pen.textbbox(label, f"{score:.4f}"), fill=(0, 0, 0))
        pen.text(label, f"{score:.4f}", fill=(60, 255, 90))
        for x, y in marks:
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(255, 60, 60))
    picture.save(path)


def judge(eager: Way, ways: tuple[Way, ...]) -> None:
    """Raises DemoError unless each way found eager's faces, and eager found one."""
    if len(eager.faces.boxes) == 0:
        raise DemoError("no face was found on the photograph")
    for way in ways:
        if len(way.faces.boxes) != len(eager.faces.boxes):
            raise DemoError(f"{way.name} found {len(way.faces.boxes)} faces, eager PyTorch {len(eager.faces.boxes)}")
        off = (way.faces.boxes - eager.faces.boxes).abs().max().item()
        if not off <= TOLERANCE:
            raise DemoError(f"{way.name}: a box lies {off:.3g} pixels from eager PyTorch's; {TOLERANCE} are allowed")


if __name__ == "__main__":
    main()
