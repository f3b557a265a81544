"""Second moments of what linear layers read, gathered in few sessions and bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, clone
from modelkit.passes.remove_unused import remove_unused
from modelkit.quantize.observe import Samples, observe

_MOST_STAGES = 24
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Stage:
    """Layers that are rounded on one look at their inputs; ``first`` to ``last`` of ``total``."""

    layers: tuple[ir.Node, ...]
    first: int
    last: int
    total: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values that the layers read."""
        names = [node.inputs[0].name or "" for node in self.layers if node.inputs[0] is not None]
        return tuple(dict.fromkeys(names))


def stages(graph: ir.Graph, layers: Sequence[ir.Node]) -> list[Stage]:
    """``layers`` of ``graph`` in the order they run, those of one input together.

    Layers of other graphs are left out: what they read cannot be looked at.
    """
    wanted = set(layers)
    by_input: dict[ir.Value, list[ir.Node]] = {}
    for node in graph:
        if node in wanted and node.inputs[0] is not None:
            by_input.setdefault(node.inputs[0], []).append(node)
    fewest = -(-len(by_input) // _MOST_STAGES)
    groups: list[list[ir.Node]] = []
    held = inputs = 0
    for nodes in by_input.values():
        size = 8 * rows_of(nodes[0]) ** 2
        if not groups or inputs >= fewest or held + size > _MOST_BYTES:
            groups.append([])
            held = inputs = 0
        groups[-1] += nodes
        held, inputs = held + size, inputs + 1
    total = sum(len(group) for group in groups)
    made, first = [], 0
    for group in groups:
        made.append(Stage(tuple(group), first, first + len(group) - 1, total))
        first += len(group)
    return made


def rows_of(node: ir.Node) -> int:
    """How wide what a linear layer reads is."""
    weight = node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    return int(weight.const_value.shape.numpy()[0])


def moments_of(model: Model, stage: Stage, samples: Samples) -> dict[str, np.ndarray]:
    """The sum of x x^T [K, K] for each input of the stage, over all rows of all samples.

    Only the part of ``model`` that leads to them runs.

    Raises:
        CheckFailed: a value is NaN or infinity, or there is no sample.
    """
    found: dict[str, np.ndarray] = {}

    def see(name: str, value: np.ndarray) -> None:
        rows = value.reshape(-1, value.shape[-1]).astype(np.float32, copy=False)
        product = (rows.T @ rows).astype(np.float64)
        if name in found:
            found[name] += product
        else:
            found[name] = product

    observe(_leading_to(model, stage.inputs), stage.inputs, samples, see)
    return found


def _leading_to(model: Model, names: Sequence[str]) -> Model:
    copy = clone(model)
    inputs = {value.name for value in copy.graph.inputs}
    made = {output.name: output for node in copy.graph for output in node.outputs}
    wanted = [made[name] for name in names if name not in inputs]
    first = next(iter(made.values()))
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(wanted or [first])
    remove_unused(copy)
    return copy
