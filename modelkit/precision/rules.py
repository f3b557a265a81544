"""What is known beforehand to go wrong in half, however harmless the inputs at hand are."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, const_of, release
from modelkit.passes.surgery import attribute, is_onnx
from modelkit.precision.kinds import INTEGERS, LIGHT, SUMS
from modelkit.precision.narrow import LARGEST, SMALLEST, SMALLEST_NORMAL, rounded
from modelkit.precision.slots import Slot, Slots
from modelkit.precision.types import is_wide

Keep = dict[ir.Node, str]
"""Nodes that keep float, each with the reason; a first reason is not replaced by a second."""

_SCALED = frozenset(("Sqrt", "Reciprocal", "Add", "Max", "Clip", "Div", "Pow", "Identity", "Cast"))
_WAVES = frozenset(("Sin", "Cos", "Tan"))
_COUNTED = LIGHT | {"MatMul", "Einsum", "CumSum", "Range", "Gemm"}
_LOOSE = 40.0  # dB that a weight must keep when it is rounded
_SMALL = 1 << 16  # elements of a weight that are looked at one by one


@dataclass
class Subject:
    """What the rules look at; ``keep`` is what they fill."""

    model: Model
    half: ir.DataType
    slots: dict[ir.Node, Slots]
    patterns: Sequence[re.Pattern[str]] = ()
    keep: Keep = field(default_factory=dict)

    def add(self, node: ir.Node, reason: str) -> None:
        """Keep ``node`` in float if it has a half form at all."""
        if self.slots[node].narrows:
            self.keep.setdefault(node, reason)

    def nodes(self) -> Iterator[ir.Node]:
        """Every node that the conversion sees."""
        return iter(self.slots)


def named_by_user(subject: Subject) -> None:
    """``--keep``: the name of the node or its operator matches."""
    for node in subject.nodes():
        for pattern in subject.patterns:
            if pattern.search(node.name or "") or pattern.search(node.op_type):
                subject.add(node, f"--keep {pattern.pattern}")


def eight_bits(subject: Subject) -> None:
    """QuantizeLinear, DequantizeLinear and what stands between them run on integers."""
    for node in subject.nodes():
        if is_onnx(node, "QuantizeLinear", "DequantizeLinear"):
            subject.add(node, "belongs to a layer in 8 bits")
        elif any(_made_by(value, "DequantizeLinear") for value in node.inputs):
            subject.add(node, "reads 8-bit values: the runtime fuses it with their scales")


def written_norms(subject: Subject) -> None:
    """LayerNormalization and RMSNorm spelled out: a square overflows from 256 on.

    From the square to the root: the square, its mean or sum, and what follows it with constants.
    """
    for node in subject.nodes():
        if not is_onnx(node, "ReduceMean", "ReduceSum") or not node.inputs[0]:
            continue
        square = node.inputs[0].producer()
        if square is None or not _is_square(square):
            continue
        reason = "normalization spelled out: squares overflow from 256 on"
        subject.add(square, reason)
        subject.add(node, reason)
        for after in _scaled_after(node):
            subject.add(after, reason)


def sums_and_powers(subject: Subject) -> None:
    """Sums grow with their terms, powers faster than their base."""
    for node in subject.nodes():
        if is_onnx(node, *SUMS):
            subject.add(node, "a sum grows with the number of its terms")
        elif is_onnx(node, "Pow"):
            exponent = const_of(node.inputs[1])
            if exponent is None or np.abs(exponent).max(initial=0) > 1:
                subject.add(node, "a power leaves the range long before its base does")


def counted(subject: Subject) -> None:
    """Positions, sizes and indices: half counts by ones to 2048 only (bfloat16 to 256).

    Values computed from integers and constants alone, by moving and arithmetic.  A cast of
    integers itself is not kept: those who read it decide.
    """
    known: set[ir.Value] = set()
    fixed: set[ir.Value] = set()
    limit = 2048 if subject.half is ir.DataType.FLOAT16 else 256
    for node in subject.nodes():
        first = node.inputs[0] if node.inputs else None
        if is_onnx(node, "Cast") and first is not None and _is_integer(first):
            known.add(node.outputs[0])
            continue
        if is_onnx(node, "Range"):
            known.update(node.outputs)
        if node.op_type not in _COUNTED or node.domain not in ("", "ai.onnx"):
            continue
        floats = [value for value in node.inputs if value is not None and is_wide(value)]
        if not all(value in known or value in fixed or _is_constant(value) for value in floats):
            continue
        if any(value in known for value in floats):
            known.update(node.outputs)
            subject.add(node, f"counts: there are no odd numbers beyond {limit} in half")
        elif floats:
            fixed.update(node.outputs)


def waves(subject: Subject) -> None:
    """Sine and cosine of large angles: a rounded angle is another point of the circle."""
    for node in subject.nodes():
        if is_onnx(node, *_WAVES):
            subject.add(node, "a rounded angle is another angle")


def crashing(subject: Subject) -> None:
    """What ONNX Runtime 1.31 opens in half on the CPU and cannot run.

    A Transpose that brings the first axis next to the last, read by MatMul: the two are fused, and
    looking for the kernel dies by a signal.  Scattering with a reduction: there is no such kernel.
    """
    for node in subject.nodes():
        scatters = is_onnx(node, "ScatterElements", "ScatterND")
        if scatters and attribute(node, "reduction", "none") != "none":
            subject.add(node, "ONNX Runtime cannot scatter with a reduction in half")
        perm = attribute(node, "perm") if is_onnx(node, "Transpose") else None
        if perm is None or len(perm) < 3:
            continue
        moved = [*range(1, len(perm) - 1), 0]
        if list(perm[:-1]) == moved or [*perm[:-2], perm[-1]] == moved:
            readers = [user for user, _ in node.outputs[0].uses()]
            casts = [user for user in readers if is_onnx(user, "Cast")]
            readers += [user for cast in casts for user, _ in cast.outputs[0].uses()]
            if any(is_onnx(user, "MatMul") for user in readers):
                subject.add(node, "before MatMul: ONNX Runtime 1.31 crashes on it in half")


def constants(subject: Subject) -> None:
    """Readers of constants that half cannot hold: too large, or so small that they vanish."""
    checked: dict[ir.Value, str] = {}
    for node in subject.nodes():
        for place, value in enumerate(node.inputs):
            if value is None or not _is_constant(value) or not is_wide(value):
                continue
            if subject.slots[node].inputs[place] is not Slot.NARROWS:
                continue
            if value not in checked:
                tensor = value.const_value
                checked[value] = lost(tensor.numpy(), subject.half) if tensor else ""
                release(tensor)
            if checked[value] and not _only_bounds(node, place):
                subject.add(node, checked[value])
        if is_onnx(node, "ConstantOfShape") and subject.slots[node].narrows:
            held = node.attributes.get("value")
            reason = lost(held.as_tensor().numpy(), subject.half) if held is not None else ""
            if reason:
                subject.add(node, reason)
                for user, _ in node.outputs[0].uses():
                    subject.add(user, reason)


def lost(array: np.ndarray, half: ir.DataType) -> str:
    """Why ``array`` cannot be held in ``half``; "" if it can."""
    if array.size == 0:
        return ""
    largest = float(max(abs(float(array.max())), abs(float(array.min()))))
    if not np.isfinite(largest):
        finite = np.abs(array[np.isfinite(array)])
        largest = float(finite.max(initial=0))
    if largest > LARGEST[half]:
        return f"a constant reaches {largest:.3g}, half ends at {LARGEST[half]:g}"
    if 0 < largest < SMALLEST[half]:
        return f"a constant of {largest:.3g} would become 0"
    if largest < SMALLEST_NORMAL[half] * 64 or array.size <= _SMALL:
        kept = fidelity(array, half)
        if kept < _LOOSE:
            return f"a constant of up to {largest:.3g} keeps {kept:.0f} dB in half"
    return ""


def fidelity(array: np.ndarray, half: ir.DataType) -> float:
    """Signal over rounding noise of ``array`` in ``half``, dB; 999 without noise."""
    wide = array[np.isfinite(array)].astype(np.float64)
    noise = float(
        np.square(wide - rounded(array[np.isfinite(array)], half).astype(np.float64)).sum()
    )
    signal = float(np.square(wide).sum())
    if noise == 0 or signal == 0:
        return 999.0
    return 10 * float(np.log10(signal / noise))


def _only_bounds(node: ir.Node, place: int) -> bool:
    """A bound of Clip beyond the range bounds nothing, in half as before."""
    return is_onnx(node, "Clip") and place > 0


def _is_square(node: ir.Node) -> bool:
    if is_onnx(node, "Mul"):
        return node.inputs[0] is node.inputs[1]
    if not is_onnx(node, "Pow"):
        return False
    exponent = const_of(node.inputs[1])
    return exponent is not None and bool(np.all(exponent == 2))


def _scaled_after(node: ir.Node) -> Iterator[ir.Node]:
    waiting = [node]
    seen: set[ir.Node] = set()
    while waiting:
        for user, _ in waiting.pop().outputs[0].uses():
            others = [v for v in user.inputs if v is not None and v.const_value is None]
            if user in seen or not is_onnx(user, *_SCALED) or len(others) > 1:
                continue
            seen.add(user)
            waiting.append(user)
            yield user


def _made_by(value: ir.Value | None, kind: str) -> bool:
    maker = value.producer() if value is not None else None
    return maker is not None and is_onnx(maker, kind)


def _is_constant(value: ir.Value) -> bool:
    return value.const_value is not None and not value.is_graph_input()


def _is_integer(value: ir.Value) -> bool:
    return isinstance(value.type, ir.TensorType) and value.type.dtype.name in INTEGERS


ALWAYS: tuple[Callable[[Subject], None], ...] = (
    named_by_user,
    eight_bits,
    written_norms,
    counted,
    waves,
    constants,
)
NARROW_RANGE: tuple[Callable[[Subject], None], ...] = (sums_and_powers, crashing)
"""Rules for fp16 only: bfloat16 has the range of float."""


def apply_rules(subject: Subject) -> None:
    """Fill ``subject.keep`` by every rule that holds for its half."""
    for rule in ALWAYS:
        rule(subject)
    if subject.half is ir.DataType.FLOAT16:
        for rule in NARROW_RANGE:
            rule(subject)
