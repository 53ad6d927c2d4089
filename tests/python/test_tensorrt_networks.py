"""What no converter builds, on real TensorRT: several optimisation profiles, an output in the memory of an input. Needs a GPU."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest
import torch
from function_module import Function
from tenure.backends.base import Backend
from tenure.compile import lower

import tenure
from tenure.archive import write_archive

installed = bool(importlib.util.find_spec("tensorrt_rtx")) and torch.cuda.is_available()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not installed, reason="there is no CUDA device here, or no TensorRT-RTX")]


class ByHand(Backend):
    """A TensorRT engine of a network by hand: describe(trt, builder, network, config) gives its outputs, in order."""

    name = "tensorrt"

    def __init__(self, describe, *operators: str):
        self.describe, self.operators = describe, operators

    def why_not(self, node):
        return None if node.target._opname in self.operators else "not in the network"

    def compile(self, part, options):
        import tensorrt_rtx as trt

        builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        config = builder.create_builder_config()
        for index, output in enumerate(self.describe(trt, builder, network, config)):
            output.name = f"output_{index}"
            network.mark_output(output)
        return bytes(builder.build_serialized_network(network, config))


def relu_of_two_profiles(trt, builder, network, config):
    x = network.add_input("input_0", trt.float32, (-1, 8))
    for low, best, high in ((1, 2, 4), (5, 16, 64)):
        profile = builder.create_optimization_profile()
        profile.set_shape("input_0", (low, 8), (best, 8), (high, 8))
        config.add_optimization_profile(profile)
    return [network.add_activation(x, trt.ActivationType.RELU).get_output(0)]


@torch.no_grad()
def test_the_profile_that_takes_the_sizes_runs():
    model, x = Function(lambda m, x: torch.sin(x.relu())).cuda(), torch.randn(3, 8, device="cuda")
    rows = torch.export.Dim("rows", min=1, max=100)
    backend = ByHand(relu_of_two_profiles, "relu")
    program = tenure.compile(model, (x,), dynamic_shapes=(({0: rows},),), backend=backend, min_block_size=1)
    assert len(program.engines) == 1, str(program.report)
    held = []
    for count in (2, 50, 3, 64, 4, 5, 1, 50, 2):
        x = torch.randn(count, 8, device="cuda")
        held.append((program(x), model(x)))
    assert all(torch.equal(got, want) for got, want in held)
    with pytest.raises(tenure.Error, match=r"(?s)\[70, 8\].*\[1, 8\] to \[4, 8\].*\[5, 8\] to \[64, 8\]"):
        program(torch.randn(70, 8, device="cuda"))
    x = torch.randn(6, 8, device="cuda")
    assert torch.equal(program(x), model(x))


def cache_update(trt, builder, network, config):
    cache = network.add_input("cache", trt.float32, (1, 2, 16, 8))
    rows, place = network.add_input("rows", trt.float32, (1, 2, 1, 8)), network.add_input("place", trt.int32, (1,))
    new = network.add_kv_cache_update(cache, rows, place, trt.KVCacheMode.LINEAR).get_output(0)
    return [new, network.add_reduce(new, trt.ReduceOperation.SUM, 1 << 2, False).get_output(0)]


@torch.no_grad()
def test_a_cache_is_written_where_it_lies_and_other_outputs_are_still_reused(tmp_path):
    def forward(m, cache, rows, place):
        new = cache.index_copy(2, place.long(), rows)
        return new, torch.sin(new.sum(2))

    def arguments(place: int) -> list[torch.Tensor]:
        return [torch.randn(1, 2, 1, 8, device="cuda"), torch.tensor([place], dtype=torch.int32, device="cuda")]

    model, cache = Function(forward).cuda(), torch.zeros(1, 2, 16, 8, device="cuda")
    backend = ByHand(cache_update, "index_copy", "_to_copy", "sum")
    artifact = lower(model, (cache, *arguments(0)), backend=backend, min_block_size=1)
    (engine,) = artifact.engines
    names = {"args_0": "cache", "args_1": "rows", "args_2": "place"}
    inputs = [dataclasses.replace(each, name=names[each.name]) for each in engine.spec.inputs]
    outputs = [dataclasses.replace(each, name=f"output_{k}") for k, each in enumerate(engine.spec.outputs)]
    outputs[0] = dataclasses.replace(outputs[0], aliases_input=[each.name for each in inputs].index("cache"))
    spec = dataclasses.replace(engine.spec, inputs=tuple(inputs), outputs=tuple(outputs))
    write_archive(dataclasses.replace(artifact, engines=[dataclasses.replace(engine, spec=spec)]), tmp_path / "model.pt2")
    program = tenure.load(tmp_path / "model.pt2")
    wanted, held = cache.clone(), []
    for place in range(10):
        given = arguments(place)
        new, waves = program(cache, *given)
        wanted, expected = model(wanted, *given)
        assert new.data_ptr() == cache.data_ptr(), "no copy of the cache"
        torch.testing.assert_close(cache, wanted)
        held.append((waves, expected))
    for waves, expected in held:
        torch.testing.assert_close(waves, expected)
    del new, waves, held
    program(cache, *arguments(10))
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    given = arguments(11)
    made = torch.cuda.memory_stats()["allocation.all.allocated"] - before
    program(cache, *given)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] - before == made, "the engine's other output is reused"
