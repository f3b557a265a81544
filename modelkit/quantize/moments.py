"""Second moments of what linear layers read, gathered in one walk and bounded memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.model import Model
from modelkit.passes.cut import values_of
from modelkit.quantize.observe import Samples
from modelkit.quantize.relay import Relay


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
    """Layers that read one value; ``first`` to ``last`` of ``total``.

    ``exact`` is the name that the value had before any layer was rounded.
    """

    layers: tuple[ir.Node, ...]
    exact: str
    first: int
    last: int
    total: int

    @property
    def input(self) -> ir.Value:
        """The value that the layers read."""
        value = self.layers[0].inputs[0]
        assert value is not None
        return value


def stages(graph: ir.Graph, layers: Sequence[ir.Node]) -> list[Stage]:
    """``layers`` of ``graph`` in the order they run, those of one input together.

    Layers of other graphs are left out: what they read cannot be looked at.
    """
    wanted = set(layers)
    by_input: dict[ir.Value, list[ir.Node]] = {}
    for node in graph:
        if node in wanted and node.inputs[0] is not None:
            by_input.setdefault(node.inputs[0], []).append(node)
    total = sum(len(nodes) for nodes in by_input.values())
    made, first = [], 0
    for value, nodes in by_input.items():
        last = first + len(nodes) - 1
        made.append(Stage(tuple(nodes), value.name or "", first, last, total))
        first = last + 1
    return made


def gather(
    model: Model, origin: Model, looks: Sequence[Stage], samples: Samples, folder: Path
) -> Iterator[tuple[Stage, Moments]]:
    """Each stage and its moments over all rows of all samples, as the stages before have made it.

    The layers of a stage are to be rounded in ``model`` before the next one is asked for;
    ``origin`` is the model before any was.  ``folder`` keeps what is passed on.

    Raises:
        CheckFailed: a value is NaN or infinity, or there is no sample.
    """
    named = values_of(origin.graph)
    own, exact = (
        Relay(each, samples, folder / name) for each, name in ((model, "own"), (origin, "exact"))
    )
    for place, stage in enumerate(looks):
        later = looks[place + 1 :]
        with (
            own.reach(stage.input, [each.input for each in later]) as value,
            exact.reach(named[stage.exact], [named[each.exact] for each in later]) as before,
        ):
            found = _sums((value(index), before(index)) for index in range(own.count))
        yield stage, found if place else Moments(found.own)


def _sums(pairs: Iterator[tuple[np.ndarray, np.ndarray]]) -> Moments:
    own = drift = np.zeros(())
    for value, before in pairs:
        rows = _rows(value)
        if not own.ndim:
            own, drift = np.zeros((2, rows.shape[1], rows.shape[1]))
        own += rows.T @ rows
        drift += rows.T @ (_rows(before) - rows)
    return Moments(own, drift)


def _rows(value: np.ndarray) -> np.ndarray:
    return value.reshape(-1, value.shape[-1]).astype(np.float32, copy=False)
