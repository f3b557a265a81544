"""Which values leave the range of half, measured by running the model with them as outputs.

Values of the main graph are read whole, as many in one session as memory is good for.  Values
inside bodies cannot leave: a few operators behind each give its largest magnitude, its energy and
the energy of what rounding takes away, and the worst of all rounds comes out.
"""

import math
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, clone, save
from modelkit.model.walk import bodies
from modelkit.precision.narrow import rounded
from modelkit.precision.types import is_wide
from modelkit.runtime.session import Feeds, open_session

OUTPUT = "modelkit.ranges"
_FIGURES = 3

_FIRST = 32  # values in the first session, whose size says how many fit into the next
_ENOUGH = 256 << 20  # bytes of values that one run may give
_MOST = 4096
_INSIDE = 64  # values of bodies in one session: its start is quadratic in them


@dataclass(frozen=True)
class Range:
    """The largest magnitude of a value, and how many dB it keeps when rounded to half.

    ``elements`` is how many it had on all samples together; 0 for values in bodies.
    """

    peak: float
    kept: float
    elements: int = 0


def measure_ranges(
    model: Model, names: Collection[str], half: ir.DataType, samples: Sequence[Feeds]
) -> dict[str, Range]:
    """The range of each value called one of ``names``, over all samples.

    ``model`` is not changed; its types must be settled.
    """
    found = _Figures(half)
    wanted, outer = frozenset(names), _main_names(model)
    main = [name for name in outer if name in wanted]
    size = _FIRST
    while main:
        before = found.seen
        _watch(model, main[:size], samples, found)
        each = max((found.seen - before) // (size * max(len(samples), 1)), 1)
        main, size = main[size:], min(max(_ENOUGH // each, 1), _MOST)
    inner = sorted(wanted - frozenset(outer))
    for start in range(0, len(inner), _INSIDE):
        _watch_bodies(model, frozenset(inner[start : start + _INSIDE]), half, samples, found)
    return found.ranges()


def _main_names(model: Model) -> list[str]:
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs)]
    return [value.name for value in values if value.name and is_wide(value)]


class _Figures:
    """Largest magnitude, energy, and energy lost, by name."""

    def __init__(self, half: ir.DataType) -> None:
        self.half = half
        self.seen = 0
        self.elements: dict[str, int] = {}
        self._held: dict[str, np.ndarray] = {}

    def see(self, name: str, array: np.ndarray) -> None:
        """Take in one value whole."""
        self.seen += array.nbytes
        self.elements[name] = self.elements.get(name, 0) + array.size
        if not array.size:
            self.add(name, np.zeros(_FIGURES))
            return
        with np.errstate(all="ignore"):
            peak = max(abs(float(array.max())), abs(float(array.min())))
            lost = array - rounded(array, self.half).astype(array.dtype)
            energies = (float(np.vdot(part, part)) for part in (array, lost))
            self.add(name, np.array([peak, *energies]))

    def add(self, name: str, figures: np.ndarray) -> None:
        """Take in the figures of one value."""
        old = self._held.get(name, np.zeros(_FIGURES))
        self._held[name] = np.array([np.fmax(old[0], figures[0]), *(old[1:] + figures[1:])])

    def ranges(self) -> dict[str, Range]:
        """What was found."""
        return {
            name: Range(
                float(held[0]),
                _decibels(float(held[1]), float(held[2])),
                self.elements.get(name, 0),
            )
            for name, held in self._held.items()
        }


def _watch(model: Model, names: list[str], samples: Sequence[Feeds], found: _Figures) -> None:
    """Run with the values called ``names`` as the only outputs, and look at them."""
    copy = clone(model)
    inputs = frozenset(value.name for value in copy.graph.inputs)
    values = {value.name: value for node in copy.graph for value in node.outputs}
    made = [values[name] for name in names if name not in inputs]
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(made)
    for name in inputs & frozenset(names):
        for feeds in samples:
            if name in feeds:
                found.see(name, feeds[name])
    if made:
        for outputs in _runs(copy, samples):
            for name, array in outputs.items():
                found.see(name, array)


def _watch_bodies(
    model: Model,
    names: frozenset[str],
    half: ir.DataType,
    samples: Sequence[Feeds],
    found: _Figures,
) -> None:
    copy = clone(model)
    tapped = _Tap(half, names).graph(copy.graph)
    if tapped is None:
        return
    vector, order = tapped
    vector.name = OUTPUT
    copy.graph.outputs.clear()
    copy.graph.outputs.append(vector)
    for outputs in _runs(copy, samples):
        for name, figures in zip(order, outputs[OUTPUT].reshape(-1, _FIGURES), strict=True):
            found.add(name, figures.astype(np.float64))


def _runs(model: Model, samples: Sequence[Feeds]) -> Iterator[Feeds]:
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        path = save(model, Path(folder) / "ranges.onnx")
        with open_session(path, optimize=False) as session:
            wanted = {port.name for port in session.inputs}
            for feeds in samples:
                yield session.run({name: v for name, v in feeds.items() if name in wanted})


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
