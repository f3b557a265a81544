"""Run a model piece by piece, and keep on disk what later pieces read.

A value deep inside a model is reached without running again what leads to it, and without holding
more of the model than the piece that leads there from the last one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.errors import CheckFailed
from modelkit.model import Model, clone, inside, save
from modelkit.passes.remove_unused import remove_unused
from modelkit.quantize.observe import Samples, not_finite
from modelkit.runtime.session import Session, open_session

_UNSURE = ("Sequence", "Optional", "Identity", "If", "Loop")
Kind = tuple[ir.DataType, int]
"""The element type and the rank of a value."""


class Relay:
    """One walk through the main graph of ``model``, whose later nodes may change on the way.

    ``folder`` must not exist yet, and belongs to the walk: one file a value and sample.
    """

    def __init__(self, model: Model, samples: Samples, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._held: dict[ir.Value, int] = {}
        self._kinds: dict[ir.Value, Kind] = {}
        self._slots = 0
        self._suspects: dict[int, str] = {}
        folder.mkdir()
        self.count = self._start(samples)

    def _start(self, samples: Samples) -> int:
        inputs = {value.name: value for value in self._model.graph.inputs}
        count = 0
        for feeds in samples():
            for name, array in feeds.items():
                self._keep(inputs[name], count, array)
                if array.dtype.kind == "f" and np.isnan(array).any():
                    self._suspects.setdefault(count, name)
            count += 1
        if not count:
            raise CheckFailed("the calibration data holds no sample", code="no-samples")
        return count

    @contextmanager
    def reach(
        self, target: ir.Value, later: Sequence[ir.Value]
    ) -> Iterator[Callable[[int], np.ndarray]]:
        """A function that gives ``target`` for a sample; it must be called for each, once.

        ``later`` are the values that will be reached after it: what leads to them is kept.

        Raises (when called):
            CheckFailed: the value holds NaN or infinity, named by tensor, node and sample.
        """
        piece, read = self._leading_to(target)
        kept = self._needed(later, piece)
        made = [value for value in dict.fromkeys((target, *kept)) if value not in self._held]
        with _opened(self._model, read, self._kinds, made, self._folder) as session:

            def value(index: int) -> np.ndarray:
                feeds = {each.name or "": self._load(each, index) for each in read}
                found = session.run(feeds) if session is not None else {}
                for each in kept:
                    if each not in self._held or each in made:
                        self._keep(each, index, found[each.name or ""])
                name = target.name or ""
                seen = found[name] if target in made else self._load(target, index)
                if seen.dtype.kind == "f" and not np.isfinite(seen).all():
                    raise not_finite(self._model, self._suspects.get(index, name), index)
                return seen

            yield value
        for stale in [each for each in self._held if each not in kept]:
            self._drop(stale)

    def _leading_to(self, target: ir.Value) -> tuple[set[ir.Node], list[ir.Value]]:
        """The nodes between what is held and ``target``, and what they read of it."""
        piece: set[ir.Node] = set()
        read: dict[ir.Value, None] = {}
        waiting = [target]
        while waiting:
            value = waiting.pop()
            if value in self._held:
                read[value] = None
                continue
            node = value.producer()
            if node is not None and node not in piece:
                piece.add(node)
                waiting += reads(node)
        if target in self._held:
            read.clear()
        return piece, list(read)

    def _needed(self, later: Iterable[ir.Value], piece: set[ir.Node]) -> list[ir.Value]:
        """What is held, or made by ``piece``, and leads to the values ``later``."""
        needed: dict[ir.Value, None] = {}
        seen: set[ir.Value] = set()
        waiting = list(later)
        while waiting:
            value = waiting.pop()
            if value in seen:
                continue
            seen.add(value)
            node = value.producer()
            if value in self._held or (node in piece and _is_tensor(value)):
                needed[value] = None
            elif node is not None:
                waiting += reads(node)
        return list(needed)

    def _keep(self, value: ir.Value, index: int, array: np.ndarray) -> None:
        if value not in self._held:
            self._held[value] = self._slots
            self._kinds[value] = ir.DataType.from_numpy(array.dtype), array.ndim
            self._slots += 1
        np.save(self._file(value, index), array, allow_pickle=False)

    def _load(self, value: ir.Value, index: int) -> np.ndarray:
        return np.load(self._file(value, index), allow_pickle=False)  # type: ignore[no-any-return]

    def _file(self, value: ir.Value, index: int) -> Path:
        return self._folder / f"{self._held[value]}.{index}.npy"

    def _drop(self, value: ir.Value) -> None:
        for index in range(self.count):
            self._file(value, index).unlink(missing_ok=True)
        del self._held[value], self._kinds[value]


def reads(node: ir.Node) -> list[ir.Value]:
    """What a node reads of its own graph, also by the bodies it carries."""
    found = (value for each in inside((node,)) for value in each.inputs if value is not None)
    makers = ((value, value.producer()) for value in found)
    return [value for value, maker in makers if maker is None or maker.graph is node.graph]


def _is_tensor(value: ir.Value) -> bool:
    """Whether ``value`` can be kept; where that is not known it is made again."""
    node = value.producer()
    if value.type is None and node is not None:
        return not any(part in node.op_type for part in _UNSURE)
    return isinstance(value.type, ir.TensorType)


@contextmanager
def _opened(
    model: Model,
    read: Sequence[ir.Value],
    kinds: dict[ir.Value, Kind],
    made: Sequence[ir.Value],
    folder: Path,
) -> Iterator[Session | None]:
    """The part of ``model`` that makes ``made`` of ``read``, opened; None if it makes nothing."""
    if not made:
        yield None
        return
    copy = clone(model)
    values = {output.name: output for node in copy.graph for output in node.outputs}
    values |= {value.name: value for value in copy.graph.inputs}
    outputs = [values[value.name] for value in made]
    copy.graph.outputs.clear()
    inputs = []
    for value in read:
        old, (dtype, rank) = values[value.name], kinds[value]
        copy.graph.initializers.pop(value.name or "", None)
        shape = ir.Shape([None] * rank)
        new = ir.Value(name=value.name, type=ir.TensorType(dtype), shape=shape)
        ir.convenience.replace_all_uses_with(old, new)
        old.name = f"{value.name}_made_before"
        inputs.append(new)
    copy.graph.inputs.clear()
    copy.graph.inputs.extend(inputs)
    copy.graph.outputs.extend(outputs)
    remove_unused(copy)
    path = save(copy, folder / "piece.onnx", force=True)
    with open_session(path) as session:
        yield session
