"""The backends that tenure.compile knows, by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from importlib.util import find_spec

import torch

from ..errors import Error
from .base import Backend


def _openvino() -> Backend:
    try:
        from .openvino import OpenVinoBackend
    except ImportError as error:
        raise Error("unsupported", f"the openvino backend needs the openvino package ({error}): pip install openvino") from error
    return OpenVinoBackend()


def _null() -> Backend:
    from .null import NullBackend

    return NullBackend()


def _tensorrt() -> Backend:
    """Through Torch-TensorRT's converters where it and a GPU are, else through ONNX. Warns if it is there and cannot be used."""
    if not torch.cuda.is_available() or not find_spec("torch_tensorrt"):
        return _onnx_tensorrt()
    try:
        return _torch_tensorrt()
    except Error as unusable:
        try:
            other = _onnx_tensorrt()
        except Error as also:
            raise Error("unsupported", f"{unusable}; nor can it compile through ONNX: {also}") from also
        warnings.warn(f'backend="tensorrt" compiles through ONNX, since Torch-TensorRT cannot be used: {unusable}', stacklevel=2)
        return other


def _torch_tensorrt() -> Backend:
    try:
        from .tensorrt_converters import TorchTensorRTBackend
    except Exception as error:  # its import looks for libraries and a GPU, and fails in many ways
        raise Error(
            "unsupported",
            f"this way to TensorRT needs Torch-TensorRT and a GPU ({error}): pip install torch-tensorrt-rtx, or torch-tensorrt; "
            'without a GPU backend="tensorrt-onnx" compiles too',
        ) from error
    return TorchTensorRTBackend()


def _onnx_tensorrt() -> Backend:
    try:
        from .tensorrt_onnx import OnnxTensorRTBackend
    except ImportError as error:
        raise Error(
            "unsupported",
            f"the tensorrt backend needs TensorRT-RTX or TensorRT, and ONNX ({error}): pip install tensorrt-rtx onnx onnxscript",
        ) from error
    return OnnxTensorRTBackend()


_BACKENDS: dict[str, Callable[[], Backend]] = {
    "null": _null,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
    "tensorrt-onnx": _onnx_tensorrt,
    "tensorrt-converters": _torch_tensorrt,
}
_NOT_IN_THIS_BUILD = ("inductor",)


def find_backends(chosen: str | Backend | Iterable[str | Backend]) -> list[Backend]:
    """Names or Backend objects, in the caller's order. Raises Error that lists the names."""
    many = [chosen] if isinstance(chosen, str | Backend) else list(chosen) if isinstance(chosen, Iterable) else [None]
    if not all(isinstance(one, str | Backend) for one in many):
        raise Error("invalid argument", f"backend is {chosen!r}; it is a name, a tenure.backends.base.Backend, or a list of them")
    return [_find(one) for one in many]


def _find(chosen: str | Backend) -> Backend:
    if isinstance(chosen, Backend):
        return chosen
    if chosen in _BACKENDS:
        return _BACKENDS[chosen]()
    names = ", ".join(sorted(_BACKENDS))
    if chosen in _NOT_IN_THIS_BUILD:
        raise Error("unsupported", f"the backend {chosen!r} is not in this build, which has: {names}")
    raise Error("not found", f"no backend is called {chosen!r}; this build has: {names}; or pass a tenure.backends.base.Backend")


__all__ = ["Backend", "find_backends"]
