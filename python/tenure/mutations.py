"""Custom operators that write into their arguments: functional while a program is partitioned, themselves again at the end."""

from __future__ import annotations

import torch
from torch._higher_order_ops.auto_functionalize import auto_functionalized, auto_functionalized_v2
from torch._inductor.fx_passes.post_grad import decompose_auto_functionalized
from torch.export import ExportedProgram

from .node_facts import is_mutating, is_operator

FUNCTIONALIZED = (auto_functionalized, auto_functionalized_v2)


def restore_mutating_operators(program: ExportedProgram) -> ExportedProgram:
    """Puts the operators themselves, each writing into a copy of what it writes, in the place of torch's functional wrappers.

    Only after partitioning: from here on a value's content depends on where in the graph it is read. `program` is changed.
    """
    wrapped = [node for node in program.graph.nodes if node.op == "call_function" and node.target in FUNCTIONALIZED]
    if not wrapped:
        return program
    for node in wrapped:  # all of them: which ones need none is found when the program is loaded
        node.meta["only_clone_these_tensors"] = _written(node)
    with torch.no_grad():
        decompose_auto_functionalized(program.graph)
    program.graph.eliminate_dead_code(is_impure_node=lambda node: not is_operator(node) or is_mutating(node))
    return program


def _written(node: torch.fx.Node) -> list:
    if node.target is auto_functionalized_v2:
        return list(range(len(node.kwargs["_all_bases"])))
    schema = node.args[0]._schema
    return [each.name for each in schema.arguments if each.alias_info is not None and each.alias_info.is_write]
