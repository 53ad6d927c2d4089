"""The RFC's block-level API: an engine as an object and an operator of any PyTorch graph.

    engine = tenure.torch_api.engine_from(program, "engine_0")      # a torch.classes.tenure.Engine
    outputs = torch.ops.tenure.execute_engine([x], engine)          # in eager code, torch.compile, torch.export, TorchScript

    module = tenure.torch_api.module_from(program)                  # a whole program as a module that calls its engines so

On its own an engine follows RFC #3985: an owned output (the default) keeps a standing buffer, an unowned one
(`engine.set_output_tensors_as_unowned(True)`, or `output=0` for one) a slot that is allocated ahead. A buffer is reused only when
nobody holds a tensor on it, so no result changes while it is held. Importing `tenure` registers class and operator; a C++ program
has them when it is linked with libtenure.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any, NoReturn

import torch

from . import _tenure  # registers torch.classes.tenure.Engine and tenure::execute_engine
from .archive import BLOB_RECORD, MANIFEST_RECORD
from .engine_text import spec_from_json
from .entry import compile as compile_program
from .errors import Error
from .ops import known_engines
from .program import Program


def engine_from(program: Program, name: str) -> torch.ScriptObject:
    """An engine of a program as an object of its own, a torch.classes.tenure.Engine, with memory and switches of its own.

    Its outputs are unowned where the program's are now. Raises Error if the program has no engine of that name.
    """
    if name not in program.engines:
        known = ", ".join(sorted(program.engines)) or "none"
        raise Error("not found", f"the program has no engine {name!r}; it has: {known}")
    entries = json.loads(program._file.record(MANIFEST_RECORD))["engines"]
    entry = next(entry for entry in entries if entry["name"] == name)
    described = {key: entry[key] for key in ("name", "backend", "inputs", "outputs", "options")}
    engine = torch.classes.tenure.Engine(json.dumps(described), program._file.record(BLOB_RECORD.format(name)))
    for output in range(len(entry["outputs"])):
        engine.set_output_tensors_as_unowned(program.engines[name].are_output_tensors_unowned(output=output), output)
    return engine


def module_from(program: Program) -> torch.fx.GraphModule:
    """The program as PyTorch operators and calls of `tenure::execute_engine`: a module that can be a part of others, be compiled,
    exported or traced. Its engines are its attributes `engine_0`, ...; arguments and results are the model's own.

    PyTorch runs it and allocates the values between the engines, which a Program plans too.
    """
    engines = {name: engine_from(program, name) for name in program.engines}
    with known_engines({name: spec_from_json(engine.spec()) for name, engine in engines.items()}):
        exported = torch.export.load(io.BytesIO(program._file.content()))
    module = exported.module(check_guards=False)
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.tenure.call_engine.default):
        inputs, name = node.args
        setattr(module, name, engines[name])
        with module.graph.inserting_before(node):
            engine = module.graph.create_node("get_attr", name)
        node.target, node.args = torch.ops.tenure.execute_engine.default, (inputs, engine)
    module.recompile()
    module._forward_pre_hooks.clear()  # a check of the inputs, made by engines too, that torch.jit.trace cannot follow
    return module


def compile_module(
    model: torch.nn.Module | torch.export.ExportedProgram, args: Sequence[Any] = (), **options: Any
) -> torch.fx.GraphModule:
    """`module_from(tenure.compile(...))`, with the arguments of tenure.compile."""
    return module_from(compile_program(model, args, **options))


@torch.library.register_fake("tenure::execute_engine")
def _trace(inputs: Sequence[torch.Tensor], engine: Any) -> list[torch.Tensor]:
    spec = spec_from_json(_spec_text(engine))
    if len(inputs) != len(spec.inputs):
        raise Error("invalid argument", f"expected {len(spec.inputs)} inputs, got {len(inputs)}", [f"engine {spec.name}"])
    device = _device_of(spec.backend, inputs)
    for tensor, binding in zip(inputs, spec.inputs, strict=True):
        if tensor.dtype != binding.dtype or tensor.device.type != device.type:
            message = f"input {binding.name} is {tensor.dtype} on {tensor.device}, not {binding.dtype} on {device}"
            raise Error("invalid argument", message, [f"engine {spec.name}"])
    shapes = spec.output_sizes([tuple(tensor.shape) for tensor in inputs], lambda: torch.library.get_ctx().new_dynamic_size())
    for tensor, binding in zip(inputs, spec.inputs, strict=True):
        for size, fixed in zip(tensor.shape, binding.sizes, strict=True):
            if isinstance(fixed, int):
                message = f"engine {spec.name}: input {binding.name} is {list(tensor.shape)}, not {list(binding.sizes)}"
                torch._check(size == fixed, lambda message=message: message)
    return [torch.empty(shape, dtype=output.dtype, device=device) for shape, output in zip(shapes, spec.outputs, strict=True)]


def _device_of(backend: str, inputs: Sequence[torch.Tensor]) -> torch.device:
    """Where the engine's outputs are: on the device that its backend runs on, or on "meta", where shapes are asked for alone."""
    wanted = _tenure.backend_devices().get(backend, "cpu")
    given = next((tensor.device for tensor in inputs if tensor.device.type in (wanted, "meta")), None)
    return given or torch.device(wanted)


# The call has no effect that anybody could see: PyTorch may order it freely, and drop it if nobody uses the outputs.
torch.library._register_effectful_op("tenure::execute_engine", None)


def _spec_text(engine: Any) -> str:
    fake = getattr(engine, "wrapped_obj", None)  # while tracing, torch hands over its own wrapper of the fake object
    return fake.spec() if isinstance(fake, _FakeEngine) else engine.spec()


@torch._library.register_fake_class("tenure::Engine")
class _FakeEngine:
    """What tracing sees of an engine: all but the bytes. Its methods are those of the C++ class."""

    def __init__(self, spec_json: str):
        self.spec_json = spec_json
        self._spec = spec_from_json(spec_json)

    @classmethod
    def __obj_unflatten__(cls, flat: Sequence[tuple[str, Any]]) -> _FakeEngine:
        return cls(**dict(flat))

    def name(self) -> str:
        return self._spec.name

    def backend(self) -> str:
        return self._spec.backend

    def inputs(self) -> list[str]:
        return [binding.name for binding in self._spec.inputs]

    def outputs(self) -> list[str]:
        return [binding.name for binding in self._spec.outputs]

    def spec(self) -> str:
        return self.spec_json

    def set_output_tensors_as_unowned(self, unowned: bool, output: int | None = None) -> None:
        self._refuse()

    def are_output_tensors_unowned(self, output: int | None = None) -> bool:
        self._refuse()

    def use_pre_allocated_outputs_getter(self) -> bool:
        self._refuse()

    def use_pre_allocated_outputs_setter(self, enabled: bool) -> None:
        self._refuse()

    def stats(self) -> dict[str, int]:
        self._refuse()

    def trim(self) -> int:
        self._refuse()

    def _refuse(self) -> NoReturn:
        message = "an engine's switches and counters are no part of a graph: use them outside what is traced"
        raise Error("unsupported", message, [f"engine {self._spec.name}"])
