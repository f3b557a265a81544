"""Which values leave the range of half, measured: one session tells of every value at once.

The model is copied with a few operators behind each value, which give its largest magnitude, its
energy and the energy of what rounding to half takes away; only these three numbers leave the
session, so that no activation is held longer than in a plain run.  Values inside bodies come too,
the worst of all rounds.
"""

import math
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, clone, save
from modelkit.passes.surgery import bodies
from modelkit.precision.types import is_wide
from modelkit.runtime.session import Feeds, open_session

OUTPUT = "modelkit.ranges"
_FIGURES = 3


@dataclass(frozen=True)
class Range:
    """The largest magnitude of a value, and how many dB it keeps when rounded to half."""

    peak: float
    kept: float


def measure_ranges(
    model: Model, names: Collection[str], half: ir.DataType, samples: Iterable[Feeds]
) -> dict[str, Range]:
    """The range of each value called one of ``names``, over all samples.

    ``model`` is not changed; its types must be settled.
    """
    copy = clone(model)
    tapped = _Tap(half, frozenset(names)).graph(copy.graph)
    if tapped is None:
        return {}
    vector, found = tapped
    vector.name = OUTPUT
    copy.graph.outputs.clear()
    copy.graph.outputs.append(vector)
    peaks = np.zeros(len(found))
    energies = np.zeros((2, len(found)))
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        path = save(copy, Path(folder) / "ranges.onnx")
        with open_session(path, optimize=False) as session:
            wanted = {port.name for port in session.inputs}
            for feeds in samples:
                taken = {name: value for name, value in feeds.items() if name in wanted}
                figures = session.run(taken)[OUTPUT].reshape(-1, _FIGURES).astype(np.float64)
                peaks = np.maximum(peaks, figures[:, 0])
                energies += figures[:, 1:].T
    return {
        name: Range(float(peaks[place]), _decibels(*energies[:, place]))
        for place, name in enumerate(found)
    }


def _decibels(signal: float, noise: float) -> float:
    if math.isnan(noise) or noise == 0 or signal == 0:
        return 999.0  # infinities of the float model itself, or nothing lost
    return 10 * math.log10(signal / noise) if math.isfinite(noise) else -999.0


class _Tap:
    """Puts the measuring operators into a graph and the graphs in it."""

    def __init__(self, half: ir.DataType, names: frozenset[str]) -> None:
        self.half = half
        self.names = names
        self.count = 0

    def graph(self, graph: ir.Graph) -> tuple[ir.Value, list[str]] | None:
        """One vector of figures for all values of ``graph``, and their names in its order."""
        parts: list[ir.Value] = []
        found: list[str] = []
        for value in graph.inputs:
            if self._wanted(value):
                parts.append(self._figures(graph, value))
                found.append(value.name or "")
        for node in list(graph):
            for value, names in self._inside(graph, node):
                parts.append(value)
                found += names
            for value in list(node.outputs):
                if self._wanted(value):
                    parts.append(self._figures(graph, value))
                    found.append(value.name or "")
        if not parts:
            return None
        return self._node(graph, "Concat", parts, axis=0), found

    def _wanted(self, value: ir.Value) -> bool:
        return value.name in self.names and is_wide(value)

    def _figures(self, graph: ir.Graph, value: ir.Value) -> ir.Value:
        flat = self._node(graph, "Reshape", [value, self._constant(graph, np.array([-1]))])
        if value.dtype is not ir.DataType.FLOAT:
            flat = self._node(graph, "Cast", [flat], to=ir.DataType.FLOAT.value)
        down = self._node(graph, "Cast", [flat], to=self.half.value)
        back = self._node(graph, "Cast", [down], to=ir.DataType.FLOAT.value)
        lost = self._node(graph, "Sub", [flat, back])
        zero = self._constant(graph, np.zeros(1, np.float32))  # an empty tensor has no maximum
        some = self._node(graph, "Concat", [self._node(graph, "Abs", [flat]), zero], axis=0)
        peak = self._node(graph, "ReduceMax", [some], keepdims=1)
        energies = [self._node(graph, "ReduceSumSquare", [v], keepdims=1) for v in (flat, lost)]
        return self._node(graph, "Concat", [peak, *energies], axis=0)

    def _inside(self, graph: ir.Graph, node: ir.Node) -> list[tuple[ir.Value, list[str]]]:
        """The figures of a node's bodies, as new outputs of the node."""
        found = []
        branches = list(bodies(node)) if node.op_type in ("If", "Loop", "Scan") else []
        for body in branches:
            tapped = self.graph(body)
            if tapped is None:
                continue
            vector, names = tapped
            body.outputs.append(vector)
            for other in branches:
                if other is not body:
                    nothing = np.zeros(len(names) * _FIGURES, np.float32)
                    other.outputs.append(self._made_constant(other, nothing))
            node.resize_outputs(len(node.outputs) + 1)
            made = node.outputs[-1]
            made.name, made.type = self._name(), ir.TensorType(ir.DataType.FLOAT)
            if node.op_type == "If":
                found.append((made, names))
            else:
                found.append((self._worst(graph, made, len(names)), names))
        return found

    def _worst(self, graph: ir.Graph, rounds: ir.Value, count: int) -> ir.Value:
        zeros = self._constant(graph, np.zeros((1, count * _FIGURES), np.float32))
        every = self._node(graph, "Concat", [rounds, zeros], axis=0)
        turned = self._node(graph, "Transpose", [every], perm=[1, 0])
        best = self._node(graph, "TopK", [turned, self._constant(graph, np.array([1]))], 2, axis=1)
        return self._node(graph, "Reshape", [best, self._constant(graph, np.array([-1]))])

    def _made_constant(self, graph: ir.Graph, array: np.ndarray) -> ir.Value:
        return self._node(graph, "Constant", [], value=ir.tensor(array))

    def _constant(self, graph: ir.Graph, array: np.ndarray) -> ir.Value:
        return self._made_constant(graph, array)

    def _node(
        self,
        graph: ir.Graph,
        kind: str,
        inputs: list[ir.Value],
        outputs: int = 1,
        **attributes: object,
    ) -> ir.Value:
        made = [ir.convenience.convert_attribute(k, v) for k, v in attributes.items()]
        node = ir.Node("", kind, inputs, made, num_outputs=outputs)
        for value in node.outputs:
            value.name = self._name()
        graph.append(node)
        return node.outputs[0]

    def _name(self) -> str:
        self.count += 1
        return f"{OUTPUT}.{self.count}"
