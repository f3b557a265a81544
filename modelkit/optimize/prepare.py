"""Change what a model takes and gives before it is optimized, each change proven on its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelkit import progress
from modelkit.errors import CheckFailed, ModelkitError, UsageError
from modelkit.model import Model, clone, load, read_inputs, save, write_inputs
from modelkit.optimize.choice import unknown
from modelkit.passes.cut import cut, values_of
from modelkit.passes.set_dims import fix_dims, free_dims
from modelkit.runtime import rounding
from modelkit.runtime.compare import TOLERANCES, measure, verify
from modelkit.runtime.data.given import CHECKED, given_proposal, given_samples
from modelkit.runtime.feeds import Proposal, propose
from modelkit.runtime.session import Feeds, Session, open_session
from modelkit.safe import safe

STEP = "optimize"


@dataclass(frozen=True)
class Shaping:
    """``dims`` fixes named axes, ``free`` names others ("x:0=batch"), ``extract`` cuts "a..b"."""

    dims: Mapping[str, int]
    free: tuple[str, ...] = ()
    extract: str = ""

    def __bool__(self) -> bool:
        return bool(self.dims or self.free or self.extract)


def real_inputs(
    path: Path, data: str | None, words: Mapping[str, Any] | None, shaping: Shaping
) -> Proposal | None:
    """The inputs that ``data`` names, read as ``words`` say; None where none are given.

    Raises:
        UsageError: ``words`` without data, or data for a model that is cut or freed first.
        BadInput, CheckFailed: see :func:`modelkit.runtime.data.given.given_samples`.
    """
    if data is None:
        if words:
            raise UsageError(f"--{next(iter(words))} is for real inputs", hint="add --eval-data")
        return None
    if shaping.free or shaping.extract:
        raise UsageError(
            "--eval-data does not go with --free-dim and --extract",
            hint="change the model first, then optimize the result with --eval-data",
        )
    return given_proposal(*given_samples(path, data, words, most=CHECKED))


def prepare(
    source: Path,
    shaping: Shaping,
    folder: Path,
    *,
    seed: int = 0,
    check: bool = True,
    data: Proposal | None = None,
) -> tuple[Path, tuple[str, ...]]:
    """Write the model at ``source``, cut and reshaped, into ``folder``; what was done, in words.

    ``data`` are real inputs to prove fixed axes on; cut and freed models need generated ones.

    Raises:
        UsageError: no such value, input, axis or name.
        CheckFailed: the changed model does not compute what the source does (with ``check``).
    """
    notes: list[str] = []
    if shaping.extract:
        source, note = _extracted(source, shaping.extract, folder, seed, check)
        notes.append(note)
    if shaping.dims:
        source, note = _fixed(source, shaping.dims, folder, seed, check, data)
        notes.append(note)
    if shaping.free:
        source, note = _freed(source, shaping.free, folder, seed, check)
        notes.append(note)
    return source, tuple(notes)


def _extracted(source: Path, text: str, folder: Path, seed: int, check: bool) -> tuple[Path, str]:
    model = load(source)
    inputs, outputs = _ends(model, text)
    part = cut(model, inputs, outputs)
    given = [str(value.name) for value in part.graph.inputs]
    write_inputs(part, [spec for spec in read_inputs(model) if spec.name in given])
    extra = [name for name in given if name not in inputs]
    place = save(part, folder / "part.onnx", force=True)
    if check:
        progress.step("verification of the part")
        whole = clone(model)
        values = values_of(whole.graph)
        wanted = dict.fromkeys([*given, *outputs])
        whole.graph.outputs.clear()
        whole.graph.outputs.extend(values[name] for name in wanted)
        everything = save(whole, folder / "whole.onnx", force=True)
        feeds = [feeds for feeds, _ in _proposal(source, {}, seed).trials]
        shown = _run(everything, feeds)
        found = _run(place, [{name: values[name] for name in given} for values in shown])
        expected = [{name: values[name] for name in outputs} for values in shown]
        _equal(expected, found, f"the part {safe(text)}", source, feeds)
    also = f", also fed by {', '.join(safe(name, 60) for name in extra)}" if extra else ""
    return place, f"extracted {safe(text)}{also}"


def _ends(model: Model, text: str) -> tuple[list[str], list[str]]:
    first, dots, last = text.partition("..")
    if not dots:
        raise UsageError(
            f"--extract {safe(text)} is not FROM..TO", hint="write it as --extract a..b or a,b..c"
        )
    known = values_of(model.graph)
    inputs = [name for name in first.split(",") if name]
    outputs = [name for name in last.split(",") if name]
    inputs = inputs or [str(value.name) for value in model.graph.inputs]
    outputs = outputs or [str(value.name) for value in model.graph.outputs]
    for name in (*inputs, *outputs):
        if name not in known:
            raise unknown("value of the graph", name, list(known)[:200])
    return inputs, outputs


def _fixed(
    source: Path,
    dims: Mapping[str, int],
    folder: Path,
    seed: int,
    check: bool,
    data: Proposal | None,
) -> tuple[Path, str]:
    model = load(source)
    names = {
        dim.value
        for value in model.graph.inputs
        for dim in value.shape or ()
        if not isinstance(dim, int) and dim.value
    }
    for name in dims:
        if name not in names:
            raise unknown("axis of an input", name, sorted(names) or ["none has a name"])
    fix_dims(model, dims)
    place = save(model, folder / "fixed.onnx", force=True)
    if check:
        progress.step("verification of the fixed axes")
        verify(source, place, step=STEP, proposal=data or _proposal(source, dims, seed))
    return place, "fixed " + ", ".join(f"{safe(name)}={length}" for name, length in dims.items())


def _freed(
    source: Path, free: Sequence[str], folder: Path, seed: int, check: bool
) -> tuple[Path, str]:
    model = load(source)
    names = _axes(model, free)
    free_dims(model, names)
    write_inputs(model, [])
    place = save(model, folder / "free.onnx", force=True)
    told = ", ".join(safe(each) for each in free)
    if not check:
        return place, f"freed {told}"
    progress.step("verification of the free axes")
    proposal = _proposal(source, {}, seed)
    verify(source, place, step=STEP, proposal=proposal)
    for word in dict.fromkeys(names.values()):
        ports = {name: axis for (name, axis), each in names.items() if each == word}
        _prove_free(source, place, ports, proposal, word)
    return place, f"freed {told}: twice the length gives both results"


def _axes(model: Model, free: Sequence[str]) -> dict[tuple[str, int], str]:
    known = {str(value.name): value for value in model.graph.inputs}
    found: dict[tuple[str, int], str] = {}
    for each in free:
        place, _, word = each.partition("=")
        name, _, axis = place.rpartition(":")
        if not (word.isidentifier() and name and axis.isdecimal()):
            raise UsageError(
                f"--free-dim {safe(each)} is not INPUT:AXIS=NAME",
                hint="write it as --free-dim x:0=batch",
            )
        if name not in known:
            raise unknown("input", name, list(known))
        shape = known[name].shape
        if shape is None or int(axis) >= len(shape):
            raise UsageError(f"input '{safe(name)}' has no axis {axis}")
        found[name, int(axis)] = word
    return found


def _prove_free(
    source: Path, place: Path, ports: Mapping[str, int], proposal: Proposal, word: str
) -> None:
    """Feed two of the source's inputs at once: the outputs must be those of both, one by one."""
    (first, _), (second, _) = proposal.trials[:2]
    second = {name: second[name] if name in ports else first[name] for name in first}
    joined = {
        name: np.concatenate([first[name], second[name]], axis=ports[name])
        if name in ports
        else first[name]
        for name in first
    }
    one, two = _run(source, [first, second])
    try:
        (both,) = _run(place, [joined])
    except ModelkitError as error:
        raise CheckFailed(
            f"axis '{safe(word)}' cannot be freed: the model does not run at another length",
            cause=error.cause or error.message,
            hint="the length is built into its graph",
        ) from None
    expected = {name: _joined(one[name], two[name], both[name]) for name in one}
    _equal([expected], [both], f"axis '{safe(word)}'", source, [first, second])


def _joined(one: np.ndarray, two: np.ndarray, both: np.ndarray) -> np.ndarray:
    longer = [axis for axis, length in enumerate(one.shape) if both.shape[axis] == 2 * length]
    if one.ndim != both.ndim or not longer or one.shape == both.shape:
        return one
    return np.concatenate([one, two], axis=longer[0])


def _equal(
    expected: Sequence[Feeds],
    found: Sequence[Feeds],
    what: str,
    source: Path,
    inputs: Sequence[Feeds],
) -> None:
    """Raise unless all outputs are as near as steps must be, or as ``source`` is to itself."""
    pairs = zip(expected, found, strict=True)
    errors = [error for one, other in pairs for error in measure(one, other, TOLERANCES[STEP])]
    if not all(error.passed for error in errors):
        errors = list(rounding.allowing(rounding.own_distance(source, inputs), errors))
    bad = [error for error in errors if not error.passed]
    if bad:
        raise CheckFailed(
            f"{what} does not compute what the source does",
            cause=f"output '{safe(bad[0].output)}': {bad[0].metric} {bad[0].value:.3g}",
            hint="nothing was written",
            code="outputs-differ",
        )


def _proposal(source: Path, dims: Mapping[str, int], seed: int) -> Proposal:
    with open_session(source, optimize=False) as session:
        return propose(load(source), session.run, dims=dims, seed=seed)


def _run(path: Path, trials: Sequence[Feeds]) -> list[Feeds]:
    with open_session(path, optimize=False) as session:
        return [_taken(session, feeds) for feeds in trials]


def _taken(session: Session, feeds: Feeds) -> Feeds:
    return session.run({port.name: feeds[port.name] for port in session.inputs})
