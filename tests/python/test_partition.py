"""Which nodes become parts: claims about the cut, with the null backend, whose engines are PyTorch's own operators."""

from __future__ import annotations

import pytest
import torch
from function_module import Function
from tenure.compile import lower
from tenure.errors import Error
from torch import nn
from torch.nn import functional as F

aten = torch.ops.aten


def cut(function, args, *, min_block_size=1, layers=None, **options):
    torch.manual_seed(0)
    return lower(Function(function, **(layers or {})).eval(), args, backend="null", min_block_size=min_block_size, **options)


def outside(artifact) -> list[str]:
    """Names of the operators that are not in an engine."""
    calls = artifact.exported_program.graph.find_nodes(op="call_function", target=torch.ops.tenure.call_engine.default)
    nodes = [node for node in artifact.exported_program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    return [str(node.target) for node in nodes if node not in calls]


def engine_operators(artifact) -> list[list[str]]:
    return [list(part.operators) for part in artifact.report.parts if part.engine]


def reasons(artifact) -> str:
    return " / ".join(str(part.reason) for part in artifact.report.parts if part.reason)


def test_a_model_that_the_backend_takes_whole_is_one_engine():
    artifact = cut(lambda m, x: torch.relu(m.a(x)).tanh(), (torch.randn(2, 4),), layers={"a": nn.Linear(4, 4)})
    assert len(artifact.engines) == 1
    assert outside(artifact) == []


def test_an_empty_list_of_backends_compiles_nothing():
    artifact = lower(Function(lambda m, x: x.sin()), (torch.randn(2),), backend=[])
    assert artifact.engines == []
    assert outside(artifact) == ["aten.sin.default"]


@pytest.mark.parametrize("name", ["aten.sin", "aten.sin.default", aten.sin, aten.sin.default, "aten::sin"])
def test_torch_executed_operators_stay_outside_in_every_spelling(name):
    artifact = cut(lambda m, x: x.relu().sin().tanh(), (torch.randn(2),), torch_executed_ops=[name])
    assert outside(artifact) == ["aten.sin.default"]
    assert engine_operators(artifact) == [["aten.relu.default"], ["aten.tanh.default"]]


def test_an_operator_name_that_does_not_exist_is_refused():
    with pytest.raises(Error, match=r"aten\.nosuch") as caught:
        cut(lambda m, x: x.sin(), (torch.randn(2),), torch_executed_ops=["aten.nosuch"])
    assert caught.value.code == "invalid argument"


def test_an_operator_name_that_the_graph_lacks_is_noted():
    artifact = cut(lambda m, x: x.sin(), (torch.randn(2),), torch_executed_ops=["aten.cos"])
    assert "aten.cos" in artifact.report.notes[0]


def test_views_do_not_count_towards_the_block_size():
    def model(m, x):
        return x.relu().view(8).view(4, 2).transpose(0, 1).sin().unsqueeze(0).cos()

    assert cut(model, (torch.randn(2, 4),), min_block_size=3).engines
    artifact = cut(model, (torch.randn(2, 4),), min_block_size=4)
    assert not artifact.engines
    assert "3 compute operators, fewer than min_block_size=4" in reasons(artifact)


def test_independent_nets_are_engines_of_their_own():
    artifact = cut(lambda m, x, y: (x.sin().cos(), y.tanh().relu()), (torch.randn(2), torch.randn(3)))
    assert sorted(engine_operators(artifact)) == [
        ["aten.sin.default", "aten.cos.default"],
        ["aten.tanh.default", "aten.relu.default"],
    ]


def test_branches_that_wait_for_the_same_inputs_share_an_engine():
    artifact = cut(lambda m, x: (x.sin().cos(), x.tanh().relu()), (torch.randn(2),))
    assert len(artifact.engines) == 1


def test_a_branch_beside_an_operator_that_stays_outside_does_not_wait_for_it():
    def model(m, x):
        trunk = x.relu()
        first, second = trunk.sin(), trunk.tanh().cos()
        return first.erf() + second

    artifact = cut(model, (torch.randn(2),), torch_executed_ops=["aten.erf"])
    assert {"aten.tanh.default", "aten.cos.default"} < set(engine_operators(artifact)[0])
    assert engine_operators(artifact)[1] == ["aten.add.Tensor"]


def test_views_that_would_be_copies_are_peeled_off_both_borders():
    def model(m, x):
        return x[0].relu().sin().transpose(0, 1)

    artifact = cut(model, (torch.randn(3, 2, 4),))
    assert outside(artifact) == ["aten.select.int", "aten.transpose.int"]


def test_split_at_the_end_stays_outside():
    artifact = cut(lambda m, x: x.relu().sin().split(2, dim=1), (torch.randn(3, 4),))
    assert outside(artifact) == ["aten.split.Tensor"]
    assert len(artifact.engines[0].spec.outputs) == 1


def test_a_view_of_an_input_is_never_an_engine_output():
    artifact = cut(lambda m, x: (x.view(4, 2), x.view(4, 2).sin()), (torch.randn(2, 4),))
    assert [binding.name for binding in artifact.engines[0].spec.outputs] == ["sin"]
    assert "aten.reshape.default" in outside(artifact)


def test_weights_are_inside_the_part_and_not_among_its_inputs():
    artifact = cut(lambda m, x: m.a(x).relu(), (torch.randn(2, 4),), layers={"a": nn.Linear(4, 4)})
    assert [binding.name for binding in artifact.engines[0].spec.inputs] == ["args_0"]
    assert artifact.exported_program.state_dict == {}


def test_a_weight_that_pytorch_operators_also_use_stays_in_the_program():
    artifact = cut(
        lambda m, x: m.a(x).relu() + m.a.bias.erf(),
        (torch.randn(2, 4),),
        layers={"a": nn.Linear(4, 4)},
        torch_executed_ops=["aten.erf"],
    )
    assert list(artifact.exported_program.state_dict) == ["a.bias"]


def test_what_follows_from_weights_alone_is_computed_inside():
    artifact = cut(lambda m, x: (m.a.weight.sin() @ x).relu(), (torch.randn(4, 2),), layers={"a": nn.Linear(4, 4)})
    assert [binding.name for binding in artifact.engines[0].spec.inputs] == ["args_0"]
    assert outside(artifact) == []


def test_a_buffer_that_the_program_writes_is_an_input_of_the_engine():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(2))

        def forward(self, x):
            self.seen.add_(x)
            return self.seen.sin().relu()

    artifact = lower(Counter(), (torch.ones(2),), backend="null", min_block_size=1)
    assert {binding.name for binding in artifact.engines[0].spec.inputs} == {"b_seen", "x"}
    assert artifact.exported_program.graph_signature.buffers_to_mutate == {
        artifact.exported_program.graph.output_node().args[0][0].name: "seen"
    }


def test_random_and_data_dependent_operators_stay_outside():
    def model(m, x):
        return F.dropout(x.sin(), 0.5, training=True), x.sin().nonzero(), (x > 0).sum().item()

    artifact = cut(model, (torch.randn(4),))
    refused = artifact.report.refused["null"]
    assert refused["aten.nonzero.default"] == "the size of its result depends on data"
    assert any("random" in reason for reason in refused.values())


def test_elementwise_arithmetic_on_data_dependent_sizes_stays_outside():
    artifact = cut(lambda m, x: x[x.nonzero().squeeze(1)].sin().cos().tanh(), (torch.randn(4),))
    assert engine_operators(artifact) == []
    assert "sizes that depend on data" in reasons(artifact)


def test_a_net_on_a_data_dependent_batch_is_an_engine():
    def model(m, x):
        return m.a(x.index_select(0, x[:, 0].nonzero().squeeze(1))).relu()

    artifact = cut(model, (torch.randn(4, 4),), layers={"a": nn.Linear(4, 4)}, torch_executed_ops=["aten.index_select"])
    spec = artifact.engines[0].spec
    assert [str(size) for size in spec.inputs[0].sizes] == ["i0_0", "4"]
    assert [str(size) for size in spec.outputs[0].sizes] == ["i0_0", "4"]


def test_output_sizes_are_told_in_input_dimensions():
    n, m, k = torch.export.Dim("n"), torch.export.Dim("m"), torch.export.Dim("k")

    def model(module, x, y):
        return torch.cat((x, x), 0).sin() @ y, (x.relu() @ y).flatten().cos()

    artifact = cut(model, (torch.randn(4, 5), torch.randn(5, 6)), dynamic_shapes=(({0: n, 1: m}, {0: m, 1: k}),))
    (engine,) = artifact.engines
    assert engine.spec.output_sizes([(7, 5), (5, 3)]) == [[14, 3], [21]]


def test_a_border_dimension_that_is_an_expression_is_a_symbol_of_its_own():
    n = torch.export.Dim("n", min=2)

    def model(module, x):
        doubled = torch.cat((x, x), 0).erf()
        return F.max_pool1d(doubled.sin()[None], 3)[0].cos()

    artifact = cut(model, (torch.randn(4, 12),), dynamic_shapes=(({0: n},),), torch_executed_ops=["aten.erf"])
    after = artifact.engines[-1].spec
    assert [str(size) for size in after.inputs[0].sizes] == ["i0_0", "12"]
    assert after.output_sizes([(10, 12)]) == [[10, 4]]


def test_a_node_whose_size_its_part_cannot_derive_stays_outside():
    n = torch.export.Dim("n")

    def model(m, x, y):
        return x.sin().cos().expand(y.shape[0], -1).relu()

    artifact = cut(model, (torch.randn(1, 3), torch.randn(5)), dynamic_shapes=((None, {0: n}),), torch_executed_ops=["aten.relu"])
    assert artifact.engines
    assert "aten.expand.default" in outside(artifact)


def test_backends_are_served_in_the_order_given():
    from tenure.backends.null import NullBackend

    class OnlySin(NullBackend):
        name = "only_sin"

        def why_not(self, node):
            return None if node.target is aten.sin.default else "not sin"

    artifact = lower(Function(lambda m, x: x.sin().cos()), (torch.randn(2),), backend=[OnlySin(), "null"], min_block_size=1)
    assert [(engine.spec.name, engine.spec.backend) for engine in artifact.engines] == [
        ("engine_0", "only_sin"),
        ("engine_1", "null"),
    ]


def test_a_part_that_the_backend_fails_to_compile_stays_outside_with_the_reason():
    from tenure.backends.null import NullBackend

    class Failing(NullBackend):
        def compile(self, part, options):
            raise ValueError("the compiler ran out of luck")

    artifact = lower(Function(lambda m, x: x.sin().cos()), (torch.randn(2),), backend=Failing(), min_block_size=1)
    assert artifact.engines == []
    assert outside(artifact) == ["aten.sin.default", "aten.cos.default"]
    assert "the compiler ran out of luck" in reasons(artifact)


@pytest.mark.parametrize(("backend", "code"), [("inductor", "unsupported"), ("nosuch", "not found")])
def test_a_backend_that_is_not_there_is_refused_with_the_names_of_those_that_are(backend, code):
    with pytest.raises(Error, match="null, openvino") as caught:
        lower(Function(lambda m, x: x.sin()), (torch.randn(2),), backend=backend)
    assert caught.value.code == code


def test_control_flow_is_refused_naming_the_node():
    def model(m, x):
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))

    with pytest.raises(Error, match="control flow") as caught:
        cut(model, (torch.randn(2),))
    assert caught.value.code == "unsupported"
    assert "node cond" in caught.value.context


def test_a_model_that_cannot_be_exported_is_an_error_of_ours():
    with pytest.raises(Error, match=r"torch\.export") as caught:
        cut(lambda m, x: x.sin() if x.sum() > 0 else x, (torch.randn(2),))
    assert caught.value.code == "invalid argument"


@pytest.mark.parametrize("options", [{"min_block_size": 0}, {"options": {"null": {"speed": "11"}}}, {"options": {"openvino": {}}}])
def test_options_without_meaning_are_refused(options):
    with pytest.raises(Error) as caught:
        lower(Function(lambda m, x: x.sin()), (torch.randn(2),), backend="null", **options)
    assert caught.value.code == "invalid argument"
