"""Carries to a GPU machine without a package index what it lacks: TensorRT-RTX, Torch-TensorRT, engines for the tests.

  tools/gpu_pack.py pack --headers DIR [--folder build/gpu-pack]   here, with an index: downloads and compresses
  tools/gpu_pack.py unpack [--folder build/gpu-pack]               there: prints the settings for ./dev test-gpu and bench-tensorrt

DIR holds NvInferRuntime.h and its kind, of the library's version; they come with NVIDIA's SDK. The wheels are those for Python
3.12 on Linux x86-64. Engine blobs are made if tensorrt_rtx, onnx, onnxscript and tenure are importable here. The pack is some
61 MB; its large library compresses for some minutes, unless the folder holds it already.
"""

from __future__ import annotations

import argparse
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

VERSION = "1.4.0.76"  # later ones refuse the H100
WHEELS = (
    f"tensorrt-rtx-cu13-libs=={VERSION}",
    f"tensorrt-rtx-cu13-bindings=={VERSION}",
    "torch-tensorrt-rtx==2.11.0",
    "dllist==2.0.0",  # Torch-TensorRT needs it
    "expecttest==0.3.0",  # PyTorch's operator samples need it
)
PLATFORM = ("--python-version", "3.12", "--platform", "manylinux_2_28_x86_64")
LIBRARIES = "tensorrt_rtx_libs"  # the package whose .so files go to lib/
LARGE = "libtensorrt_rtx.so.1"  # 213 MB of the 236; kept apart, so that packing again need not compress it again
UNUSED = ("torch_tensorrt/bin",)
PACKAGES = "packages.tar.xz"
LIMIT = 62 << 20  # bytes that a pack may have, to fit through what carries it
CHUNK = 1 << 20
MAKE_BLOBS = Path(__file__).parents[1] / "tests" / "testdata" / "make_engine_blobs.py"
# The index has this package only as sources, whose build asks the index for the other two again.
FORWARD = "from tensorrt_rtx_bindings import *\nfrom tensorrt_rtx_bindings import __version__\n"


def pack(folder: Path, headers: Path) -> None:
    """Writes the pack into `folder`. Exits with a message if it gets larger than LIMIT."""
    if not (headers / "NvInferRuntime.h").is_file():
        sys.exit(f"{headers} holds no NvInferRuntime.h")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        wheels, root = Path(temporary, "wheels"), Path(temporary, "root")
        download(wheels)
        lay_out(sorted(wheels.glob("*.whl")), root)
        large, packed = root / "lib" / LARGE, folder / f"{LARGE}.xz"
        if not same_content(large, packed):
            print(f"compressing {LARGE}: some minutes")
            compress(large, packed)
        large.unlink()
        shutil.copytree(headers, root / "include", ignore=lambda _, names: [name for name in names if not name.endswith(".h")])
        make_blobs(root / "blobs")
        write_tar(root, folder / PACKAGES)
    size = sum((folder / name).stat().st_size for name in (PACKAGES, f"{LARGE}.xz"))
    print(f"{folder}: {size / 1e6:.1f} MB")
    if size > LIMIT:
        sys.exit(f"{folder} is larger than {LIMIT / 1e6:.1f} MB")


def download(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--only-binary=:all:", *PLATFORM, "--dest", str(folder), *WHEELS], check=True)


def lay_out(wheels: list[Path], root: Path) -> None:
    """root/python as pip would have made it; but libraries are in root/lib, and links where pip would have put them."""
    python, lib = root / "python", root / "lib"
    lib.mkdir(parents=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as content:
            content.extractall(python)
    for library in sorted((python / LIBRARIES).glob("*.so*")):
        library.rename(lib / library.name)
        library.symlink_to(Path("..", "..", "lib", library.name))
    (python / "tensorrt_rtx").mkdir()
    (python / "tensorrt_rtx" / "__init__.py").write_text(FORWARD)
    for unused in UNUSED:
        shutil.rmtree(python / unused)


def same_content(plain: Path, packed: Path) -> bool:
    if not packed.exists():
        return False
    try:
        with plain.open("rb") as one, lzma.open(packed) as other:
            while (chunk := one.read(CHUNK)) == other.read(CHUNK):
                if not chunk:
                    return True
    except (EOFError, lzma.LZMAError):  # an interrupted one
        pass
    return False


def compress(source: Path, target: Path) -> None:
    """Like xz -9e. One thread: more of them cut the file into blocks, which compress worse."""
    partial = target.with_name(f"{target.name}.partial")
    with source.open("rb") as content, lzma.open(partial, "wb", preset=9 | lzma.PRESET_EXTREME) as out:
        shutil.copyfileobj(content, out, CHUNK)
    os.replace(partial, target)


def make_blobs(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        made = subprocess.run([sys.executable, MAKE_BLOBS, temporary, "tensorrt"], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            print(f"without blobs: {made.stderr.splitlines()[-1]}", file=sys.stderr)
            return
        shutil.copytree(Path(temporary, "tensorrt"), folder)


def write_tar(root: Path, target: Path) -> None:
    partial = target.with_name(f"{target.name}.partial")
    with tarfile.open(partial, "w:xz", preset=9 | lzma.PRESET_EXTREME) as tar:
        for entry in sorted(root.iterdir()):
            tar.add(entry, entry.name, filter=nobodys)
    os.replace(partial, target)


def nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, "", ""
    return entry


def unpack(folder: Path) -> None:
    """Exits with a message if `folder` is no pack. Files that an earlier unpack left there are overwritten."""
    if missing := [name for name in (f"{LARGE}.xz", PACKAGES) if not (folder / name).is_file()]:
        sys.exit(f"{folder} holds no {' and no '.join(missing)}: pack it first")
    root = (folder / "tensorrt").resolve()
    root.mkdir(exist_ok=True)
    with tarfile.open(folder / PACKAGES) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian 12's Python has none
        tar.extractall(root)
    with lzma.open(folder / f"{LARGE}.xz") as packed, (root / "lib" / LARGE).open("wb") as out:
        shutil.copyfileobj(packed, out, CHUNK)
    print(f"export TENSORRT_ROOT={root}")
    print(f"export LD_LIBRARY_PATH={root / 'lib'}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}")
    print(f"export PYTHONPATH={root / 'python'}${{PYTHONPATH:+:$PYTHONPATH}}")
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
