"""Find the smallest part of a model that a rewrite spoils."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit import progress
from modelkit.errors import CheckFailed, ModelkitError
from modelkit.model import Model, clone, save
from modelkit.model.walk import bodies
from modelkit.passes.cut import cut, values_of
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.runtime.compare import TOLERANCES, measure
from modelkit.runtime.session import Feeds, open_session

MAX_NODES = 5000
MAX_BYTES = 1 << 30

Rewrite = Callable[[Model], Model]


@dataclass(frozen=True)
class _Case:
    """A model, what each of its values is on one set of inputs, and the rewrite to blame."""

    model: Model
    values: Mapping[str, np.ndarray]
    rewrite: Rewrite
    folder: Path


def reproducer(model: Model, feeds: Feeds, rewrite: Rewrite, folder: Path) -> Model | None:
    """The shortest run of nodes of ``model`` that ``rewrite`` spoils on what ``feeds`` gives them.

    None where no part alone shows it, or where the model is too large to look inside.
    ``folder`` takes the files made on the way.
    """
    count = len(model.graph)
    if not count or count > MAX_NODES or _bytes(model) > MAX_BYTES:
        return None
    progress.step("looking for a minimal reproducer")
    case = _Case(model, _values(model, feeds, folder), rewrite, folder)
    if not _spoiled(case, 0, count):
        return None
    low, high = 1, count
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _spoiled(case, 0, middle) else (middle + 1, high)
    end = low if _spoiled(case, 0, low) else count
    low, high = 0, end - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _spoiled(case, middle, end) else (low, middle - 1)
    return _window(model, low if _spoiled(case, low, end) else 0, end)


def _bytes(model: Model) -> int:
    weights = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in weights if tensor is not None)


def _values(model: Model, feeds: Feeds, folder: Path) -> dict[str, np.ndarray]:
    """Every value of the main graph on ``feeds``."""
    whole = clone(model)
    infer_symbols(whole)
    whole.graph.outputs.clear()
    whole.graph.outputs.extend(
        value
        for value in values_of(whole.graph).values()
        if value.producer() is not None and value.type is not None
    )
    with open_session(save(whole, folder / "values.onnx", force=True), optimize=False) as session:
        return {**feeds, **session.run(feeds)}


def _window(model: Model, start: int, end: int) -> Model:
    """The nodes from ``start`` up to ``end`` as a model of their own."""
    nodes = list(model.graph)
    inside = nodes[start:end]
    made = {value for node in inside for value in node.outputs}
    chosen = set(inside)
    read: dict[str, None] = {}
    for node in inside:
        for value in _reads(node):
            if value not in made and value.const_value is None and value.name:
                read[value.name] = None
    outputs = [
        str(value.name)
        for node in inside
        for value in node.outputs
        if value.name
        and (value.is_graph_output() or any(user not in chosen for user, _ in value.uses()))
    ]
    known = values_of(model.graph)
    return cut(model, [name for name in read if name in known], outputs)


def _reads(node: ir.Node) -> list[ir.Value]:
    found = [value for value in node.inputs if value is not None]
    for body in bodies(node):
        for inner in body:
            found += _reads(inner)
    return found


def _spoiled(case: _Case, start: int, end: int) -> bool:
    try:
        part = _window(case.model, start, end)
        given = [str(value.name) for value in part.graph.inputs]
        if not part.graph.outputs or any(name not in case.values for name in given):
            return False
        feeds = {name: case.values[name] for name in given}
        before = save(part, case.folder / "before.onnx", force=True)
        with open_session(before, optimize=False) as session:
            expected = session.run(feeds)
    except ModelkitError:
        return False  # not a model of its own
    try:
        after = save(case.rewrite(part), case.folder / "after.onnx", force=True)
        with open_session(after) as session:
            found = session.run(feeds)
        errors = measure(expected, found, TOLERANCES["optimize"])
    except CheckFailed:
        return True
    except ModelkitError:
        return True
    return not all(error.passed for error in errors)
