"""torch.compile(model, backend="tenure"): what eager PyTorch does, by Tenure programs; and what it says when it cannot."""

from __future__ import annotations

import copy
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torchvision
from tenure.dynamo import CompiledGraph, compiled_graphs, tenure_backend
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed

import tenure

NULL = {"backend": "null", "min_block_size": 1, "fallback": False}
OPENVINO = {"min_block_size": 1, "fallback": False}


_earlier: list[CompiledGraph] = []  # dynamo keeps some in the globals of this file: those that follow a graph break


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    _earlier[:] = compiled_graphs()
    with torch.no_grad():
        yield
    torch._dynamo.reset()


def graphs() -> list[CompiledGraph]:
    """Those of the test that runs, oldest first."""
    return [graph for graph in compiled_graphs() if graph not in _earlier]


def compiled(model, options=NULL, **rest):
    return torch.compile(model, backend="tenure", options=options, **rest)


def assert_same(got, wanted, tolerance=0.0):
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


def assert_equals_eager(model, calls, options=NULL, tolerance=0.0, **rest):
    """Results, changes of the arguments and, of a module, its state: each as eager PyTorch leaves it."""
    eager = copy.deepcopy(model) if isinstance(model, nn.Module) else model
    fast = compiled(model, options, **rest)
    for call in calls:
        arguments, others = copy.deepcopy(call), copy.deepcopy(call)
        torch.manual_seed(0)
        got = fast(*arguments)
        torch.manual_seed(0)
        assert_same(got, eager(*others), tolerance)
        assert_same(arguments, others)
    if isinstance(model, nn.Module):
        assert_same(dict(model.state_dict()), dict(eager.state_dict()))
    return graphs()


class Trained(nn.Module):
    """In train mode: running statistics, a counter, dropout."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)
        self.register_buffer("sums", torch.zeros(8))

    def forward(self, x, scale=2):
        self.sums.add_(x.sum(0))
        y = nn.functional.dropout(self.norm(self.linear(x)), 0.5, self.training)
        return {"flat": y.view(-1) * scale, "turned": x.t(), "rows": x.shape[0] * 2, "nothing": None}


class Decoder(nn.Module):
    """One step with a KV cache."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(8, 8)
        self.register_buffer("cache", torch.zeros(1, 32, 8))

    def forward(self, x, position):
        self.cache.index_copy_(1, position, self.project(x)[None])
        return nn.functional.scaled_dot_product_attention(x[None], self.cache, self.cache)


def add_in_place(x, y):
    return x.add_(y), x.view(-1), x[1:], x.t(), x + 1


@torch.library.custom_op("tenure_compile_tests::add_into", mutates_args=("x",))
def add_into(x: torch.Tensor, y: torch.Tensor) -> None:
    x.add_(y)


def writes_custom(x, y):
    add_into(x, y)
    return x.sin()


@pytest.mark.parametrize(
    ("model", "calls"),
    [
        (Trained().train(), [(torch.randn(rows, 8),) for rows in (4, 6, 8)]),
        (Trained().eval(), [(torch.randn(4, 8),), (torch.randn(4, 8), 3)]),
        (Decoder(), [(torch.randn(1, 8), torch.tensor([step])) for step in range(5)]),
        (add_in_place, [(torch.randn(3, 4), torch.randn(3, 4))] * 2),
        (writes_custom, [(torch.randn(3), torch.randn(3))] * 2),
        (lambda x, n: (x * n, n + 1, x.new_zeros(n)), [(torch.randn(2, 3), n) for n in (3, 4, 5)]),
        (lambda x, factor: x * factor, [(torch.randn(2, 3), factor) for factor in (0.5, 1.5, 2.5)]),
        (lambda batch: {"sum": batch["a"] + batch["b"][0]}, [({"a": torch.randn(3), "b": [torch.randn(3)]},)]),
        (lambda x: x * torch.tensor([1.0, 2.0]), [(torch.randn(3, 2),)]),
        (lambda x: (x.t(), x), [(torch.randn(3, 2),)]),
        (lambda x: x.relu().split(2), [(torch.randn(5, 2),)]),
        (lambda x: x + torch.rand_like(x), [(torch.randn(5, 2),)]),
    ],
    ids=["train", "eval", "kv_cache", "in_place", "custom_write", "int", "float", "nested", "constant", "views", "split", "random"],
)
def test_results_and_changes_are_those_of_eager_pytorch(model, calls):
    made = assert_equals_eager(model, calls)
    assert made
    assert all(graph.latest.stats().runs > 0 for graph in made)


def test_it_is_found_by_its_name_and_takes_whole_graphs():
    assert "tenure" in torch.compiler.list_backends()
    assert torch._dynamo.lookup_backend("tenure") is tenure_backend
    assert_equals_eager(nn.Linear(8, 4), [(torch.randn(2, 8),)], fullgraph=True)


def test_resnet18_becomes_one_engine_for_each_kind_of_batch():
    model = torchvision.models.resnet18().eval()
    calls = [(torch.randn(rows, 3, 32, 32),) for rows in (1, 2)]
    fixed, varying = assert_equals_eager(model, calls, {"fallback": False}, tolerance=1e-4)
    for graph in (fixed, varying):
        assert list(graph.latest.engines) == ["engine_0"]
        assert graph.latest.engines["engine_0"].backend == "openvino"


def test_a_transformer_layer_runs_at_any_length():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    calls = [(torch.randn(2, length, 16),) for length in (3, 5, 9)]
    assert_equals_eager(layer, calls, OPENVINO, tolerance=1e-5)


def test_with_dynamic_sizes_one_program_serves_all():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    (graph,) = assert_equals_eager(model, [(torch.randn(rows, 8),) for rows in (3, 7, 50)], OPENVINO, 1e-5, dynamic=True)
    (program,) = graph.programs
    assert program.stats().runs == 3
    assert all(not isinstance(each.sizes[0], int) for each in program.inputs)


def test_a_graph_break_makes_two_programs_and_the_same_answer():
    def broken(x):
        y = x.sin() * 2
        if y.sum() > 1000:  # depends on data
            return y
        return y.cos() + 1

    assert len(assert_equals_eager(broken, [(torch.randn(4, 8),)] * 2)) == 2


def test_autocast_is_what_it_was_when_the_graph_was_captured():
    linear = nn.Linear(8, 8)

    def inside(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = linear(x)
        return y.float() + 1

    assert_equals_eager(inside, [(torch.randn(4, 8),)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_equals_eager(linear, [(torch.randn(4, 8),)])


def test_a_result_that_is_an_input_or_a_view_of_a_parameter_shares_its_memory():
    linear = nn.Linear(4, 4)
    x, state = torch.randn(3, 4), torch.zeros(2, 2)
    fast = compiled(lambda x, state: (linear(x), linear.weight.t(), x[1:], state.add_(1), x.view_as(x)))
    _, turned, rows, same, alias = fast(x, state)
    assert turned.data_ptr() == linear.weight.data_ptr()
    assert rows.data_ptr() == x[1].data_ptr()
    assert same is state
    assert alias is not x
    assert alias.data_ptr() == x.data_ptr()


def test_held_results_never_change_and_a_steady_caller_allocates_nothing():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    fast = compiled(model)
    held = []
    for _ in range(10):
        x = torch.randn(2, 8)
        held.append((fast(x)[1:], model(x)[1:]))
    for got, wanted in held:
        assert_same(got, wanted)
    del held, got
    fast(x)
    assert graphs()[0].latest.stats().last_run_allocations == 0


def test_threads_share_a_compiled_model():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    fast = compiled(model)
    fast(torch.randn(2, 8))

    def work(_):
        with torch.no_grad():
            for _ in range(10):
                x = torch.randn(2, 8)
                assert_same(fast(x), model(x))
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_updated_weights_are_noticed():
    model = nn.Linear(4, 4)
    fast = compiled(model)
    x = torch.randn(2, 4)
    changes = [
        lambda: None,
        lambda: model.weight.mul_(2),
        lambda: model.load_state_dict(nn.Linear(4, 4).state_dict()),
        lambda: setattr(model.bias, "data", torch.randn(4)),
        *[lambda: model.bias.add_(1)] * 4,
    ]
    for change in changes:
        change()
        assert_same(fast(x), model(x))
        assert_same(fast(x), model(x))
    (graph,) = graphs()
    assert len(graph.programs) == 1, "an outdated program is let go"
    assert len(graph.latest.inputs) == 3, "weights that keep changing are inputs at last"


def test_unfrozen_weights_may_change_behind_pytorchs_back():
    model = nn.Linear(4, 4)
    fast = compiled(model, NULL | {"freeze": False})
    x = torch.randn(2, 4)
    for _ in range(3):
        assert_same(fast(x), model(x))
        model.weight.data.mul_(2)


def test_layers_that_share_a_graph_have_programs_of_their_own():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x):
            return x + self.linear(x).relu()

    model = nn.Sequential(*[Block() for _ in range(3)]).eval()
    eager = copy.deepcopy(model)
    for block in model:
        block.compile(backend="tenure", options=NULL)
    for _ in range(2):
        x = torch.randn(2, 8)
        assert_same(model(x), eager(x))
    (graph,) = graphs()
    assert len(graph.programs) == 3
    assert [program.stats().runs for program in graph.programs] == [2, 2, 2]


def test_options_are_those_of_tenure_compile():
    class Waves(nn.Module):
        def forward(self, x):
            return (x * 2).sin() + 1

    options = NULL | {"torch_executed_ops": {"aten.sin"}, "session_options": {"max_frames": 1}}
    (graph,) = assert_equals_eager(Waves(), [(torch.randn(3),)], options)
    assert len(graph.latest.engines) == 2
    assert "torch_executed_ops names it" in str(graph.latest.report)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_size": 3}, "no option min_size; it has: backend, torch_executed_ops"),
        ({"backend": "no such"}, "no backend is called 'no such'"),
        ({"backend": "null", "min_block_size": 0}, "min_block_size is 0"),
        ({"backend": "null", "options": {"THREADS": "1"}}, "THREADS"),
        ({"backend": "null", "torch_executed_ops": ["aten.nope"]}, "aten.nope"),
        ({"backend": "null", "session_options": {"frames": 1}}, "frames"),
    ],
)
def test_wrong_options_are_errors_even_where_graphs_may_fall_back(options, message):
    with pytest.raises(BackendCompilerFailed, match=message):
        compiled(nn.Linear(4, 4), options)(torch.randn(2, 4))


def test_a_mode_is_refused():
    with pytest.raises(BackendCompilerFailed, match="no mode 'max-autotune'"):
        torch.compile(nn.Linear(4, 4), backend="tenure", mode="max-autotune")(torch.randn(2, 4))


def writes_shared(x, y):
    x.mul_(2)
    return x + y


def shared_memory():
    x = torch.randn(3, 4)
    return x, x[1:2]


@pytest.mark.parametrize(
    ("model", "make", "reason"),
    [
        (
            lambda x: torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,)),
            lambda: (torch.randn(3),),
            "control flow inside the graph",
        ),
        (writes_shared, shared_memory, "it writes to memory that inputs share: l_x_, l_y_"),
        (lambda x: x * 2, lambda: (torch.randn(3, device="meta"),), "l_x_ is a Tensor on meta"),
    ],
    ids=["cond", "shared", "device"],
)
def test_what_tenure_does_not_run_is_eager_pytorch_with_the_reason_logged(model, make, reason, caplog):
    torch.manual_seed(0)
    arguments = make()
    torch.manual_seed(0)
    others = make()
    with caplog.at_level(logging.WARNING, logger="tenure.dynamo"):
        got = compiled(model, NULL | {"fallback": True})(*arguments)
    wanted = model(*others)
    assert got.shape == wanted.shape
    if got.device.type == "cpu":
        assert_same(got, wanted)
        assert_same(arguments[:1], others[:1])
    assert any(reason in message and "runs as eager PyTorch" in message for message in caplog.messages)
    torch._dynamo.reset()
    with pytest.raises(Exception, match="cannot run in Tenure"):
        compiled(model)(*make())


def test_a_call_whose_inputs_come_to_share_written_memory_is_eager(caplog):
    fast = compiled(writes_shared)
    x, y = torch.randn(3, 4), torch.randn(1, 4)
    got, wanted = fast(x.clone(), y), writes_shared(x.clone(), y)
    assert_same(got, wanted)
    x = torch.randn(3, 4)
    other = x.clone()
    with caplog.at_level(logging.WARNING, logger="tenure.dynamo"):
        got = fast(x, x[1:2])
    assert_same(got, writes_shared(other, other[1:2]))
    assert_same(x, other)
    assert "a call runs as eager PyTorch" in caplog.text
    assert len(graphs()) == 1


def test_where_gradients_are_needed_it_is_eager_pytorch_and_says_what_to_do(caplog):
    model = nn.Linear(4, 4)
    fast = torch.compile(model, backend="tenure", options={"backend": "null", "min_block_size": 1})
    x = torch.randn(2, 4)
    with torch.enable_grad(), caplog.at_level(logging.WARNING, logger="tenure.dynamo"):
        fast(x).sum().backward()
    assert model.weight.grad is not None
    assert "torch.no_grad()" in caplog.text
    assert not graphs()
    assert_same(fast(x), model(x))
    assert len(graphs()) == 1


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_that_the_model_itself_turns_off_are_not_needed(mode):
    linear = nn.Linear(4, 4)

    @mode()
    def without(x):
        return linear(x) + 1

    with torch.enable_grad():
        assert_equals_eager(without, [(torch.randn(2, 4),)])


def test_under_inference_mode_results_are_those_of_eager():
    with torch.inference_mode():
        assert_equals_eager(nn.Linear(4, 4), [(torch.randn(2, 4),)])


def test_a_compiled_model_may_hold_an_engine_object_in_a_graph_of_its_own(caplog):
    program = tenure.compile(nn.Linear(4, 4), (torch.randn(2, 4),), backend="null", min_block_size=1)
    module = tenure.torch_api.module_from(program)
    x = torch.randn(2, 4)
    with caplog.at_level(logging.WARNING, logger="tenure.dynamo"):
        assert_same(torch.compile(module, backend="tenure")(x), program(x))
    assert "is an object" in caplog.text
