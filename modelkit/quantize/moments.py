"""Second moments of what linear layers read, gathered in few sessions and bounded memory."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, clone, save
from modelkit.passes.remove_unused import remove_unused
from modelkit.quantize.observe import Samples, observe
from modelkit.runtime.session import Feeds, open_session

_MOST_STAGES = 24
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Moments:
    """Sums over the rows x of a layer's input, as it is once earlier layers are rounded.

    ``own`` is that of x x^T [K, K], ``drift`` that of x (z - x)^T, where z is what x was before
    any layer was rounded; None where nothing was.
    """

    own: np.ndarray
    drift: np.ndarray | None = None


@dataclass(frozen=True)
class Stage:
    """Layers that are rounded on one look at their inputs; ``first`` to ``last`` of ``total``.

    ``exact`` are the names that the inputs had before any layer was rounded.
    """

    layers: tuple[ir.Node, ...]
    exact: tuple[str, ...]
    first: int
    last: int
    total: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values that the layers read."""
        return _inputs(self.layers)


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
        size = 16 * rows_of(nodes[0]) ** 2
        if not groups or inputs >= fewest or held + size > _MOST_BYTES:
            groups.append([])
            held = inputs = 0
        groups[-1] += nodes
        held, inputs = held + size, inputs + 1
    total = sum(len(group) for group in groups)
    made, first = [], 0
    for group in groups:
        made.append(Stage(tuple(group), _inputs(group), first, first + len(group) - 1, total))
        first += len(group)
    return made


def _inputs(layers: Sequence[ir.Node]) -> tuple[str, ...]:
    names = [node.inputs[0].name or "" for node in layers if node.inputs[0] is not None]
    return tuple(dict.fromkeys(names))


def rows_of(node: ir.Node) -> int:
    """How wide what a linear layer reads is."""
    weight = node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    return int(weight.const_value.shape.numpy()[0])


def moments_of(model: Model, origin: Model, stage: Stage, samples: Samples) -> dict[str, Moments]:
    """The moments of each input of the stage, over all rows of all samples.

    Only those parts of ``model`` and of ``origin``, the model before any layer was rounded, run
    that lead to the inputs.

    Raises:
        CheckFailed: a value is NaN or infinity, or there is no sample.
    """
    own: dict[str, np.ndarray] = {}
    drift: dict[str, np.ndarray] = {}
    exact: dict[str, np.ndarray] = {}

    def see(name: str, value: np.ndarray) -> None:
        rows = _rows(value)
        _add(own, name, rows.T @ rows)
        if exact:
            _add(drift, name, rows.T @ (_rows(exact[name]) - rows))

    part = _leading_to(model, stage.inputs)
    if stage.first == 0:
        observe(part, stage.inputs, samples, see)
        return {name: Moments(found) for name, found in own.items()}
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        path = save(_leading_to(origin, stage.exact), Path(folder) / "exact.onnx")
        with open_session(path) as session:

            def both() -> Iterator[Feeds]:
                for feeds in samples():
                    values = {**feeds, **session.run(feeds)}
                    for name, before in zip(stage.inputs, stage.exact, strict=True):
                        exact[name] = values[before]
                    yield feeds

            observe(part, stage.inputs, both, see)
    return {name: Moments(found, drift[name]) for name, found in own.items()}


def _rows(value: np.ndarray) -> np.ndarray:
    return value.reshape(-1, value.shape[-1]).astype(np.float32, copy=False)


def _add(sums: dict[str, np.ndarray], name: str, product: np.ndarray) -> None:
    if name in sums:
        sums[name] += product
    else:
        sums[name] = product.astype(np.float64)


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
