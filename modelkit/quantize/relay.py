"""Run a model piece by piece, and keep on disk what later pieces read.

A value deep inside a model is reached without running again what leads to it, and without holding
more of the model than the piece that leads there from the last one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, clone, inside, save
from modelkit.passes.cut import values_of
from modelkit.passes.remove_unused import remove_unused
from modelkit.quantize.observe import Samples, check_finite, holding_nan, no_samples
from modelkit.runtime.session import Session, open_session

_UNSURE = ("Sequence", "Optional", "Identity", "If", "Loop")


@dataclass(frozen=True)
class Held:
    """A value that is kept: its files, element type and rank."""

    slot: int
    dtype: ir.DataType
    rank: int


class Relay:
    """One walk through the main graph of ``model``, whose later nodes may change on the way.

    ``folder`` must not exist yet, and belongs to the walk: one file a value and sample.
    """

    def __init__(self, model: Model, samples: Samples, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._held: dict[ir.Value, Held] = {}
        self._slots = count()
        self._suspects: list[str | None] = []
        folder.mkdir()
        self.count = self._start(samples)

    def _start(self, samples: Samples) -> int:
        inputs = {value.name: value for value in self._model.graph.inputs}
        for index, feeds in enumerate(samples()):
            for name, array in feeds.items():
                self._keep(inputs[name], index, array)
            self._suspects.append(holding_nan(feeds))
        if not self._suspects:
            raise no_samples()
        return len(self._suspects)

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
        fresh = [value for value in kept if value in made]
        held = {each.name or "": self._held[each] for each in read}
        with _opened(self._model, held, made, self._folder) as session:

            def value(index: int) -> np.ndarray:
                feeds = {each.name or "": self._load(each, index) for each in read}
                found = session.run(feeds) if session is not None else {}
                for each in fresh:
                    self._keep(each, index, found[each.name or ""])
                name = target.name or ""
                seen = found[name] if target in made else self._load(target, index)
                check_finite(self._model, name, seen, index, self._suspects[index])
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
            dtype = ir.DataType.from_numpy(array.dtype)
            self._held[value] = Held(next(self._slots), dtype, array.ndim)
        np.save(self._file(value, index), array, allow_pickle=False)

    def _load(self, value: ir.Value, index: int) -> np.ndarray:
        array: np.ndarray = np.load(self._file(value, index), allow_pickle=False)
        return array

    def _file(self, value: ir.Value, index: int) -> Path:
        return self._folder / f"{self._held[value].slot}.{index}.npy"

    def _drop(self, value: ir.Value) -> None:
        for index in range(self.count):
            self._file(value, index).unlink(missing_ok=True)
        del self._held[value]


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
    model: Model, read: Mapping[str, Held], made: Sequence[ir.Value], folder: Path
) -> Iterator[Session | None]:
    """The part of ``model`` that makes ``made`` of ``read``, opened; None if it makes nothing."""
    if not made:
        yield None
        return
    copy = clone(model)
    values = values_of(copy.graph)
    outputs = [values[value.name or ""] for value in made]
    copy.graph.outputs.clear()
    inputs = []
    for name, kind in read.items():
        old = values[name]
        copy.graph.initializers.pop(name, None)
        shape = ir.Shape([None] * kind.rank)
        new = ir.Value(name=name, type=ir.TensorType(kind.dtype), shape=shape)
        ir.convenience.replace_all_uses_with(old, new)
        old.name = f"{name}_made_before"
        inputs.append(new)
    copy.graph.inputs.clear()
    copy.graph.inputs.extend(inputs)
    copy.graph.outputs.extend(outputs)
    remove_unused(copy)
    path = save(copy, folder / "piece.onnx", force=True)
    with open_session(path) as session:
        yield session
