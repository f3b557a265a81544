"""Inputs that a real graph accepts, when nobody gave any.

Naive random inputs run on few real graphs: token ids must lie below the rows of the table they
index, a mask is as long as past and present together, names of axes do not say which are equal.
So an ordered list of hypotheses is tried, and the first is kept on which the model runs, with
finite outputs that depend on the inputs.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.errors import CheckFailed, ModelkitError, UsageError
from modelkit.model import InputSpec, Model, load, read_inputs
from modelkit.runtime import pictures, rounding
from modelkit.runtime.hypotheses import (
    Hypothesis,
    fits,
    shapes_of,
    tries,
    usual_lengths,
    with_pictures,
)
from modelkit.runtime.roles import guessed_specs
from modelkit.runtime.session import Feeds, Run, open_session
from modelkit.safe import safe

_USUAL = {"batch": 1, "batch_size": 1, "sequence": 128, "sequence_length": 128, "seq": 128}
_UNKNOWN_ID_LIMIT = 100
_BLIND = 1e-4
"""Relative distance of an output from itself beyond which inputs are drawn rather than noise."""
_DRAWINGS = 6
_DRAWN = ", drawn pictures"
_SLOW = 2.0
"""Seconds of a run beyond which a model is not timed at its usual lengths."""


@dataclass(frozen=True)
class Proposal:
    """Inputs on which the source ran: (feeds, seed) per trial, and where they come from."""

    trials: tuple[tuple[Feeds, int], ...]
    source: str


def propose(
    model: Model,
    run: Run | None,
    *,
    specs: Sequence[InputSpec] = (),
    dims: Mapping[str, int] | None = None,
    seed: int = 0,
    count: int = 2,
    first: Sequence[Hypothesis] = (),
) -> Proposal:
    """Find ``count`` sets of inputs, of different shapes where the model allows it.

    ``specs`` are trusted over the model's own metadata, and both over guesses; ``dims`` fixes the
    length of axes by name; ``first`` are hypotheses to try before the usual ones.  Without ``run``
    the first is returned untried.

    Raises:
        CheckFailed: the source ran on none of them; the hint is what to type.
        UsageError: ``dims`` names no axis of the model.
    """
    known = tuple(specs) or read_inputs(model)
    wanted = known or guessed_specs(model)
    fixed = dict(dims or {})
    _check_dims(wanted, fixed)
    origin = "input spec of the model" if known else "seeded"
    failure = ""
    for chosen, hypothesis in tries(wanted, first):
        if not fits(chosen, hypothesis, fixed, count):
            continue
        trials = tuple(
            (_feeds(chosen, hypothesis, fixed, number, seed + number), seed + number)
            for number in range(count)
        )
        if run is None:
            return Proposal(trials, origin)
        try:
            if _usable(run, chosen, hypothesis, fixed, trials):
                drawn = any(spec.role == "drawn" for spec in chosen)
                found = Proposal(trials, origin + _DRAWN * drawn)
                return _seen(run, chosen, hypothesis, fixed, found)
            failure = "its outputs ignore its inputs"  # more telling than sizes it does not take
        except ModelkitError as error:
            failure = failure or error.cause or error.message
    raise CheckFailed(
        "no generated inputs run on this model with finite outputs that depend on them",
        cause=failure,
        hint="give real ones: --eval-data (optimize, compare, bench), --calib-data (fp16, "
        "quantize), --sample (convert)",
        code="no-inputs",
    )


def typical_feeds(
    path: Path,
    *,
    dims: Mapping[str, int] | None = None,
    seed: int = 0,
    real: Feeds | None = None,
) -> Feeds:
    """One set of inputs of the size such a model usually meets, for timing.

    Unless ``dims`` says otherwise batches are 1, sequences 128 and images 224 wide, and decoders
    get one token after 127.  A model that does not take these, or takes seconds for them, gets
    small ones, and one that runs on no generated ones those that are known to run, ``real``.

    Raises:
        UsageError: ``dims`` names no axis; CheckFailed: see :func:`propose`.
    """
    model = load(path)
    specs = read_inputs(model) or guessed_specs(model)
    names = {dim for spec in specs for dim in spec.shape if isinstance(dim, str)}
    _check_dims(specs, dims or {})
    cached = any(spec.role == "past" for spec in specs)
    usual = {name: length for name, length in _USUAL.items() if name in names and not cached}
    given = _with_dims(specs, dims or {})
    with open_session(path, optimize=False) as session:
        for fixed in dict.fromkeys((_with_dims(specs, usual | dict(dims or {})), given)):
            try:
                first = usual_lengths(fixed, cached=cached)
                found = propose(model, session.run, specs=fixed, seed=seed, count=1, first=first)
                break
            except CheckFailed as error:
                failure = error
        else:
            if real is None:
                raise failure
            return real
        start = time.perf_counter()
        session.run(found.trials[0][0])
        if time.perf_counter() - start > _SLOW:
            found = propose(model, session.run, specs=fixed, seed=seed, count=1)
        return found.trials[0][0]


def _seen(
    run: Run,
    specs: tuple[InputSpec, ...],
    hypothesis: Hypothesis,
    dims: Mapping[str, int],
    found: Proposal,
) -> Proposal:
    """``found``, or drawn pictures where an output is rounding on noise and less so on them."""
    drawn = with_pictures(specs)
    if drawn == specs:
        return found
    start = time.perf_counter()
    blindness = [_blindness(run, found.trials[0][0])]
    if time.perf_counter() - start > _SLOW:
        return found
    blindness += [_blindness(run, feeds) for feeds, _ in found.trials[1:]]
    trials = list(found.trials)
    for number, (_, seed) in enumerate(trials):
        for drawing in range(_DRAWINGS):
            if blindness[number] < _BLIND:
                break
            tried = _feeds(drawn, hypothesis, dims, number, seed + drawing)
            if (less := _blindness(run, tried)) < blindness[number]:
                trials[number], blindness[number] = (tried, seed), less
    if all(new is old for new, old in zip(trials, found.trials, strict=True)):
        return found
    return Proposal(tuple(trials), f"{found.source}{_DRAWN}")


def _blindness(run: Run, feeds: Feeds) -> float:
    """How far, relative, an output moves with the last place of the inputs; the worst of all."""
    outputs = run(feeds)
    if not all(_finite(value) for value in outputs.values()):
        return float("inf")
    moved = rounding.distances(outputs, run(rounding.moved(feeds)))
    return max((distance for _, distance in moved), default=0.0)


def _usable(
    run: Run,
    specs: Sequence[InputSpec],
    hypothesis: Hypothesis,
    dims: Mapping[str, int],
    trials: tuple[tuple[Feeds, int], ...],
) -> bool:
    first: dict[str, np.ndarray] = {}
    for number, (feeds, _) in enumerate(trials):
        outputs = run(feeds)
        if not all(_finite(value) for value in outputs.values()):
            raise CheckFailed("the outputs are not finite", cause="NaN or infinity in an output")
        first = outputs if number == 0 else first
    if not specs or any(np.size(value) == 0 for value in first.values()):
        return True
    other = run(_feeds(specs, hypothesis, dims, 0, trials[0][1] + 1000))
    return any(not _same(first[name], other[name]) for name in first)


def _finite(value: np.ndarray) -> bool:
    return not (isinstance(value, np.ndarray) and value.dtype.kind == "f") or bool(
        np.isfinite(value).all()
    )


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return str(a) == str(b)
    return a.shape == b.shape and bool(np.array_equal(a, b))


def _feeds(
    specs: Sequence[InputSpec],
    hypothesis: Hypothesis,
    dims: Mapping[str, int],
    number: int,
    seed: int,
) -> Feeds:
    random = np.random.default_rng(seed)
    shapes = dict(shapes_of(specs, hypothesis, dims, number))
    return {spec.name: _values(spec, shapes[spec.name], random, number) for spec in specs}


def _values(
    spec: InputSpec, shape: tuple[int, ...], random: np.random.Generator, number: int
) -> np.ndarray:
    if spec.role == "mask":
        return _mask(spec, shape, padded=number > 0)
    if spec.role == "drawn":
        return pictures.draw(shape, random).astype(_numpy_type(spec.dtype))
    if spec.role == "positions":
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(spec.dtype)
    if spec.dtype == "str":
        words = np.array(["a", "b", "some words", ""], dtype=object)
        return words[random.integers(0, len(words), shape)]
    if spec.dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    kind = _numpy_type(spec.dtype)
    if spec.choices and np.prod(shape) == 1:
        return np.full(shape, spec.choices[number % len(spec.choices)], kind)
    if kind.kind in "iu" or spec.role == "ids":
        low = 0 if spec.low is None else int(spec.low)
        high = int(spec.high) if spec.high is not None else _UNKNOWN_ID_LIMIT
        high = min(high, np.iinfo(kind).max) if kind.kind in "iu" else high
        return random.integers(low, high, shape, endpoint=True).astype(kind)
    if spec.low is not None and spec.high is not None:
        return random.uniform(spec.low, spec.high, shape).astype(kind)
    return random.standard_normal(shape).astype(kind)


def _mask(spec: InputSpec, shape: tuple[int, ...], *, padded: bool) -> np.ndarray:
    """Ones; when ``padded`` the last row ends in zeros, as a tokenizer pads a batch."""
    mask = np.ones(shape, dtype=_numpy_type(spec.dtype))
    if padded and len(shape) == 2 and shape[1] > 2:
        mask[-1, -(shape[1] // 3) :] = 0
    return mask


def _numpy_type(name: str) -> np.dtype:
    try:
        return np.dtype(name)
    except TypeError:
        return ir.DataType[name.upper()].numpy()


def _check_dims(specs: Sequence[InputSpec], dims: Mapping[str, int]) -> None:
    names = sorted({dim for spec in specs for dim in spec.shape if isinstance(dim, str)})
    for name in dims:
        if name not in names:
            shown = ", ".join(safe(dim, 40) for dim in names) or "none, every axis is fixed"
            raise UsageError(f"no dynamic axis is called '{safe(name)}'", hint=f"axes: {shown}")


def _with_dims(specs: Sequence[InputSpec], dims: Mapping[str, int]) -> tuple[InputSpec, ...]:
    """``specs`` with the named axes fixed."""
    return tuple(
        replace(
            spec,
            shape=tuple(dims.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.shape),
            samples=(),
        )
        for spec in specs
    )
