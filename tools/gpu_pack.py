"""Carries TensorRT-RTX to a GPU machine that has no package index.

  tools/gpu_pack.py pack --headers DIR [--folder build/gpu-pack]   here, with an index: library, headers, engine blobs for the tests
  tools/gpu_pack.py unpack [--folder build/gpu-pack]               there: prints the two settings for ./dev test-gpu

DIR holds NvInferRuntime.h and its kind, of the same version as the library; they come with NVIDIA's SDK. The blobs are made if
tensorrt_rtx, onnx, onnxscript and tenure are importable here. The pack is some 58 MB, the library compressed for three minutes.
"""

from __future__ import annotations

import argparse
import lzma
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

VERSION = "1.4.0.76"  # later ones refuse the H100
WHEEL = f"tensorrt-rtx-cu13-libs=={VERSION}"
LIBRARY = "libtensorrt_rtx.so.1"
MAKE_BLOBS = Path(__file__).parents[1] / "tests" / "testdata" / "make_engine_blobs.py"


def pack(folder: Path, headers: Path) -> None:
    if not (headers / "NvInferRuntime.h").exists():
        sys.exit(f"{headers} holds no NvInferRuntime.h")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, "--dest", temporary, WHEEL], check=True)
        with (
            zipfile.ZipFile(next(Path(temporary).glob("*.whl"))) as wheel,
            wheel.open(f"tensorrt_rtx_libs/{LIBRARY}") as library,
            lzma.open(folder / f"{LIBRARY}.xz", "wb", preset=9 | lzma.PRESET_EXTREME) as out,
        ):
            shutil.copyfileobj(library, out, 1 << 20)
        with tarfile.open(folder / "rest.tar.xz", "w:xz") as rest:
            rest.add(headers, "include", filter=lambda entry: entry if entry.isdir() or entry.name.endswith(".h") else None)
            made = subprocess.run([sys.executable, MAKE_BLOBS, temporary, "tensorrt"], capture_output=True, text=True, check=False)
            if made.returncode == 0:
                rest.add(Path(temporary) / "tensorrt", "blobs")
            else:
                print(f"without blobs: {made.stderr.splitlines()[-1]}", file=sys.stderr)
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) / 1e6:.1f} MB")


def unpack(folder: Path) -> None:
    root = (folder / "tensorrt").resolve()
    (root / "lib").mkdir(parents=True, exist_ok=True)
    with lzma.open(folder / f"{LIBRARY}.xz") as packed, open(root / "lib" / LIBRARY, "wb") as out:
        shutil.copyfileobj(packed, out, 1 << 20)
    with tarfile.open(folder / "rest.tar.xz") as rest:
        rest.extractall(root, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # not in Debian 12's Python
    print(f"export TENSORRT_ROOT={root}")
    if (root / "blobs").exists():
        print(f"export TENURE_TENSORRT_BLOBS={root / 'blobs'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["pack", "unpack"])
    parser.add_argument("--folder", type=Path, default=Path("build/gpu-pack"))
    parser.add_argument("--headers", type=Path, help="folder of TensorRT-RTX's headers")
    arguments = parser.parse_args()
    if arguments.command == "unpack":
        unpack(arguments.folder)
    elif arguments.headers is None:
        parser.error("pack needs --headers")
    else:
        pack(arguments.folder, arguments.headers)


if __name__ == "__main__":
    main()
