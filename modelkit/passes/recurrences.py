"""The equations of ONNX's LSTM, GRU and RNN, found in what a turn of a loop computes.

Gates are named as in the ONNX specification: input, output, forget and cell of LSTM; update (z),
reset and hidden of GRU.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from modelkit.passes.cells import Cell, Gate, Linear

_ACTIVATIONS = ("Tanh", "Relu", "Sigmoid")


@dataclass(frozen=True)
class Recurrence:
    """One layer as an ONNX operator computes it.

    Attributes:
        op: LSTM, GRU or RNN.
        hidden: the state that is the result of each turn.
        weights: W [1, gates * H, K] and R [1, gates * H, H], float32.
        bias: B [1, 2 * gates * H], float32.
        attributes: those of the operator.
        memory: the other state of an LSTM.
    """

    op: str
    hidden: ir.Value
    weights: tuple[np.ndarray, np.ndarray]
    bias: np.ndarray
    attributes: dict[str, object]
    memory: ir.Value | None = None


def recurrence_of(cell: Cell, nexts: Sequence[ir.Value]) -> Recurrence | None:
    """What ``cell`` is, whose states become ``nexts``; None where it is no layer of ONNX."""
    if len(nexts) == 2:
        return _lstm(cell, nexts, 0) or _lstm(cell, nexts, 1)
    return (_gru(cell, nexts[0]) or _rnn(cell, nexts[0])) if len(nexts) == 1 else None


def _rnn(cell: Cell, after: ir.Value) -> Recurrence | None:
    """H' = f(x W + h R + b)."""
    gate = cell.gate(after)
    return None if gate is None else _layer("RNN", cell, cell.states[0], [gate], [gate])


def _lstm(cell: Cell, nexts: Sequence[ir.Value], place: int) -> Recurrence | None:
    """C' = f * c + i * g(c~) and h' = o * act(c'), where the state at ``place`` is h."""
    hidden, memory = cell.states[place], cell.states[1 - place]
    after, kept = (cell.source(each) for each in (nexts[place], nexts[1 - place]))
    for left, right in cell.either_way(kept, "Add"):
        for forget, old in cell.either_way(left, "Mul"):
            if old is not memory:
                continue
            for entry, fresh in cell.either_way(right, "Mul"):
                for output, shown in cell.either_way(after, "Mul"):
                    (seen,) = cell.terms(shown, _kind(shown)) or (None,)
                    gates = [cell.gate(each) for each in (entry, output, forget, fresh)]
                    if seen is not kept or None in gates:
                        continue
                    known = [gate for gate in gates if gate is not None]
                    if len({gate.activation for gate in known[:3]}) > 1:
                        continue
                    ends = [known[0], known[3], Gate(_kind(shown), known[0].linear)]
                    found = _layer("LSTM", cell, hidden, known, ends, memory=memory)
                    if found is not None:
                        return found
    return None


def _gru(cell: Cell, after: ir.Value) -> Recurrence | None:
    """H' = z * h + (1 - z) * n, where n is of r * h or, ``linear_before_reset``, of r * (h R)."""
    hidden = cell.states[0]
    for left, right in cell.either_way(after, "Add"):
        for update, old in cell.either_way(left, "Mul"):
            for rest, new in cell.either_way(right, "Mul"):
                of_one = cell.terms(rest, "Sub")
                if old is not hidden or not of_one or of_one[1] is not update:
                    continue
                one, z = cell.linear(of_one[0]), cell.gate(update)
                if one is None or one.parts or not bool((one.bias == 1).all()) or z is None:
                    continue
                for reset, n, linear_before_reset in _candidates(cell, new):
                    if reset.activation == z.activation:
                        gates, extra = [z, reset, n], {"linear_before_reset": linear_before_reset}
                        found = _layer("GRU", cell, hidden, gates, [z, n], extra)
                        if found is not None:
                            return found
    return None


def _candidates(cell: Cell, new: ir.Value | None) -> Iterator[tuple[Gate, Gate, int]]:
    """The reset gate, the gate of the new state, and whether the reset comes behind the product.

    The new state's sum is then of x and of h, the latter with what is added before the reset.
    """
    hidden = cell.states[0]
    plain = cell.gate(new)
    if plain is not None:
        held = [value for value in plain.linear.parts if value not in (hidden, cell.step)]
        for reset, old in cell.either_way(held[0], "Mul") if len(held) == 1 else ():
            gate = cell.gate(reset)
            if old is hidden and gate is not None and hidden not in plain.linear.parts:
                parts = {hidden if v is held[0] else v: w for v, w in plain.linear.parts.items()}
                yield gate, Gate(plain.kind, Linear(parts, plain.linear.bias), plain.top), 0
    kind = _kind(new)
    (summed,) = cell.terms(new, kind) or (None,)
    for given, kept in cell.either_way(summed, "Add"):
        for reset, product in cell.either_way(kept, "Mul"):
            gate, x, h = cell.gate(reset), cell.linear(given), cell.linear(product)
            if gate is None or x is None or h is None:
                continue
            if set(x.parts) == {cell.step} and set(h.parts) == {hidden}:
                both = Linear({**x.parts, **h.parts}, np.stack(np.broadcast_arrays(x.bias, h.bias)))
                yield gate, Gate(kind, both), 1


def _kind(value: ir.Value | None) -> str:
    """The activation that makes ``value``; "" for others."""
    node = None if value is None else value.producer()
    return node.op_type if node is not None and node.op_type in _ACTIVATIONS else ""


def _layer(
    op: str,
    cell: Cell,
    hidden: ir.Value,
    gates: Sequence[Gate],
    ends: Sequence[Gate],
    extra: dict[str, int] | None = None,
    memory: ir.Value | None = None,
) -> Recurrence | None:
    """The operator of ``gates`` in its order, with the activations of ``ends``."""
    sums = [gate.linear for gate in gates]
    if any(set(each.parts) != {cell.step, hidden} for each in sums):
        return None
    of_x = [each.parts[cell.step] for each in sums]
    of_h = [each.parts[hidden] for each in sums]
    if any(weight is None for weight in (*of_x, *of_h)):
        return None
    w = np.concatenate([weight.T for weight in of_x if weight is not None])
    r = np.concatenate([weight.T for weight in of_h if weight is not None])
    size = r.shape[1]
    if r.shape[0] != len(gates) * size or w.shape[0] != r.shape[0]:
        return None
    of_input, of_state = zip(*(_biases(each.bias, size) for each in sums), strict=True)
    attributes: dict[str, object] = {
        "hidden_size": size,
        "activations": [gate.kind for gate in ends],
        **(extra or {}),
    }
    slopes = [1 / gate.top for gate in ends if gate.kind == "HardSigmoid"]
    if slopes:
        attributes |= {"activation_alpha": slopes, "activation_beta": [0.0] * len(slopes)}
    bias = np.concatenate([*of_input, *of_state]).astype(np.float32)[None]
    weights = (w.astype(np.float32)[None], r.astype(np.float32)[None])
    return Recurrence(op, hidden, weights, bias, attributes, memory)


def _biases(bias: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What is added to the product of x, and to that of h where a reset comes behind it."""
    of_x, of_h = bias if bias.ndim == 2 else (bias, np.zeros(1))
    return np.broadcast_to(of_x, size), np.broadcast_to(of_h, size)
