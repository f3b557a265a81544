"""Put LSTM, GRU and RNN where a Loop stands for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant
from modelkit.model.walk import graphs
from modelkit.passes.cells import Cell, constant_of
from modelkit.passes.changes import Changes
from modelkit.passes.lengths import behind_scalars, is_length
from modelkit.passes.maker import Maker
from modelkit.passes.recurrences import Recurrence, recurrence_of
from modelkit.passes.surgery import attribute, drop, initializer, is_onnx, rank, replace

NOTE = "a batch or sequence of length 0 is refused now: ONNX Runtime's LSTM and GRU take none"
"""What changes for whoever runs the model."""


@dataclass(frozen=True)
class _Scan:
    """A Loop over the first axis of ``sequence``: ``states`` by their place among its inputs."""

    loop: ir.Node
    body: ir.Graph
    sequence: ir.Value
    step: ir.Value
    clock: int | None  # among its inputs; None where only the Loop counts
    states: tuple[int, ...]
    outside: Mapping[ir.Value, ir.Value]


def restore_recurrences(model: Model) -> Changes:
    """Write a Loop whose body is the cell of a recurrent layer as that layer.

    tf2onnx leaves loops of Keras' GRU, of SimpleRNN, of open lengths and of hard sigmoids, jax2onnx
    of every scan: 30 to 60 operators for each step of time.  The same sums of the same products,
    in another order; a factor within an activation moves into its weights.
    """
    found: list[str] = []
    inside = {id(function.graph) for function in model.functions.values()}
    for graph in list(graphs(model)):
        if id(graph) in inside:
            continue
        for node in list(graph):
            if is_onnx(node, "Loop"):
                found += _restored(node, graph)
    told = any(kind != "RNN" for kind in found)
    note = f"{NOTE} (--skip restore_recurrences keeps the Loop)"
    return Changes(len(found), (note,) if told else ())


def _restored(loop: ir.Node, graph: ir.Graph) -> list[str]:
    """The operator that ``loop`` became, if it did."""
    scan = _scan(loop)
    if scan is None or any(loop.inputs[place] is None for place in scan.states):
        return []
    body = scan.body
    states = tuple(body.inputs[place] for place in scan.states)
    nexts = [body.outputs[place - 1] for place in scan.states]
    cell = Cell(body, scan.step, states, scan.outside)
    found = recurrence_of(cell, nexts)
    if found is None or scan.sequence.dtype != ir.DataType.FLOAT:
        return []
    hidden = cell.source(nexts[states.index(found.hidden)])
    stacked = body.outputs[len(body.inputs) - 1 :]
    if any(cell.source(each) is not hidden for each in stacked):
        return []
    others = [place for place in range(2, len(loop.inputs)) if place not in scan.states]
    endings = [loop.outputs[place - 2] for place in others]
    if any(ending.uses() or ending.is_graph_output() for ending in endings):
        return []
    _write(scan, graph, found)
    return [found.op]


def _write(scan: _Scan, graph: ir.Graph, found: Recurrence) -> None:
    loop, body = scan.loop, scan.body
    maker = Maker(graph, loop)
    first = add_constant(graph, "first", np.array([0], np.int64))
    direction = add_constant(graph, "direction", np.array([1], np.int64))
    stem = loop.name or "recurrence"
    weights = [
        initializer(graph, f"{stem}_{name}", ir.tensor(array))
        for name, array in zip("WRB", (*found.weights, found.bias), strict=True)
    ]
    kept = [found.hidden] + ([found.memory] if found.memory is not None else [])
    places = [list(body.inputs).index(state) for state in kept]
    starts = [maker.make("Unsqueeze", [loop.inputs[place], first]) for place in places]
    if found.op != "RNN":
        weights[2] = _guarded(maker, graph, scan.sequence, weights[2])
    inputs = [scan.sequence, *weights, None, *starts]
    attributes: dict[str, Any] = found.attributes
    stacked, *ends = maker.make_all(found.op, inputs, 1 + len(kept), **attributes)
    results = [
        (loop.outputs[place - 2], end, first) for place, end in zip(places, ends, strict=True)
    ]
    results += [(old, stacked, direction) for old in loop.outputs[len(body.inputs) - 2 :]]
    for old, new, axis in results:
        if old.uses() or old.is_graph_output():
            flat = maker.make("Squeeze", [new, axis])
            flat.type, flat.shape = old.type, old.shape
            replace(old, flat)
    drop(loop)


def _guarded(maker: Maker, graph: ir.Graph, sequence: ir.Value, bias: ir.Value) -> ir.Value:
    """``bias``, or an error where ``sequence`` is empty, on which LSTM and GRU of ONNX Runtime

    stop the process: its only row is taken by a number that is 1 then.
    """
    if sequence.shape is not None and all(isinstance(dim, int) for dim in sequence.shape):
        return bias
    one = add_constant(graph, "one", np.array([1], np.int64))
    full = maker.make("Min", [maker.make("Size", [sequence]), one])
    made = maker.make("Gather", [bias, maker.make("Sub", [one, full])], axis=0)
    made.type, made.shape = bias.type, bias.shape
    return made


def _scan(loop: ir.Node) -> _Scan | None:
    """What ``loop`` goes over, if it takes one place of a sequence each turn, to its end."""
    body: ir.Graph | None = attribute(loop, "body")
    if body is None or len(body.inputs) != len(loop.inputs) or len(loop.inputs) < 3:
        return None
    carried = range(2, len(loop.inputs))
    outside = {body.inputs[p]: given for p in carried if (given := _unchanged(loop, body, p))}
    clocks = [place for place in carried if _counts(loop, body, place)]
    if len(clocks) > 1:
        return None
    clock = clocks[0] if clocks else None
    numbers = [body.inputs[place] for place in (0, *clocks)]
    taken = [
        node
        for node in body
        if is_onnx(node, "Gather")
        and behind_scalars(node.inputs[1]) in numbers
        and node.inputs[1] is not None
        and rank(node.inputs[1]) == 0
        and attribute(node, "axis", 0) == 0
    ]
    if len(taken) != 1 or taken[0].inputs[0] is None:
        return None
    sequence = outside.get(taken[0].inputs[0], taken[0].inputs[0])
    if sequence.shape is None or len(sequence.shape) != 3 or _is_inside(sequence, body):
        return None
    states = tuple(p for p in carried if p != clock and body.inputs[p] not in outside)
    scan = _Scan(loop, body, sequence, taken[0].outputs[0], clock, states, outside)
    return scan if _goes_to_the_end(scan) else None


def _unchanged(loop: ir.Node, body: ir.Graph, place: int) -> ir.Value | None:
    """What stands outside for a state that the body gives back as it got it."""
    found: ir.Value | None = body.outputs[place - 1]
    while found is not None and (node := found.producer()) is not None:
        if not is_onnx(node, "Identity"):
            return None
        found = node.inputs[0]
    return loop.inputs[place] if found is body.inputs[place] else None


def _counts(loop: ir.Node, body: ir.Graph, place: int) -> bool:
    """Whether a state is 0, 1, 2 ..."""
    start, node = constant_of(loop.inputs[place]), body.outputs[place - 1].producer()
    if start is None or start.size != 1 or start.item() != 0 or start.dtype.kind != "i":
        return False
    if node is None or not is_onnx(node, "Add") or body.inputs[place] not in node.inputs:
        return False
    other = node.inputs[1 if node.inputs[0] is body.inputs[place] else 0]
    step = constant_of(other)
    return step is not None and step.size == 1 and step.item() == 1


def _is_inside(value: ir.Value, body: ir.Graph) -> bool:
    node = value.producer()
    return value in body.inputs or (node is not None and node.graph is body)


def _goes_to_the_end(scan: _Scan) -> bool:
    """Whether there are as many turns as places: every bound is the length, and one is reached."""
    loop, body = scan.loop, scan.body
    assert scan.sequence.shape is not None
    length = scan.sequence.shape[0]
    limit, going = loop.inputs[0], loop.inputs[1]
    if limit is not None and not is_length(limit, length):
        return False
    before = [] if going is None else _bounds(going, None)
    after = [
        (counter, bound if bound is None else scan.outside.get(bound, bound))
        for counter, bound in _bounds(body.outputs[0], body.inputs[1])
    ]
    if any(bound is None or not is_length(bound, length) for _, bound in (*before, *after)):
        return False
    if any(not _is_zero(counter) for counter, _ in before):
        return False
    counted = None if scan.clock is None else body.outputs[scan.clock - 1]
    if any(counter not in (counted, body.inputs[0]) for counter, _ in after):
        return False
    return limit is not None or any(
        counter is not None and counter is counted for counter, _ in after
    )


def _is_zero(value: ir.Value | None) -> bool:
    array = constant_of(value)
    return array is not None and array.size == 1 and bool(array.item() == 0)


def _bounds(
    value: ir.Value | None, true: ir.Value | None
) -> list[tuple[ir.Value | None, ir.Value | None]]:
    """The pairs (counter, bound) whose ``counter < bound`` make up ``value``.

    A pair of None stands for what is neither that nor ``true``.
    """
    value = behind_scalars(value)
    constant = constant_of(value)
    if value is true or (constant is not None and bool(constant.all())):
        return []
    node = None if value is None else value.producer()
    if node is not None and is_onnx(node, "And"):
        return [*_bounds(node.inputs[0], true), *_bounds(node.inputs[1], true)]
    if node is not None and is_onnx(node, "Less"):
        return [(behind_scalars(node.inputs[0]), behind_scalars(node.inputs[1]))]
    return [(None, None)]
