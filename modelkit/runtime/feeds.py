"""Inputs that a real graph accepts, when nobody gave any.

Naive random inputs run on few real graphs: token ids must lie below the rows of the table they
index, a mask is as long as past and present together, names of axes do not say which are equal.
So an ordered list of hypotheses is tried, and the first is kept on which the model runs, with
finite outputs that depend on the inputs.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit.errors import CheckFailed, ModelkitError, UsageError
from modelkit.model import InputSpec, Model, load, read_inputs
from modelkit.runtime.roles import guessed_specs
from modelkit.runtime.session import Feeds, Run, open_session
from modelkit.safe import safe

# Two shapes, both odd in places, that no exporter used for its sample.
_LENGTHS = ({"batch": 1, "other": 7, "past": 5}, {"batch": 3, "other": 10, "past": 2})
_USUAL = {"batch": 1, "batch_size": 1, "sequence": 128, "sequence_length": 128, "seq": 128}
_UNKNOWN_ID_LIMIT = 100
_SIDES = {4: (224, 256), 5: (16, 32)}
"""Usual lengths of open axes by the rank of an input, in the order they are tried."""
_SEQUENCE = (128, 64, 1024, 4096)
"""Those of all other inputs: tokens and frames, a short context, sound."""
_PAST = 127
_SLOW = 2.0
"""Seconds of a run beyond which a model is not timed at its usual lengths."""


@dataclass(frozen=True)
class Proposal:
    """Inputs on which the source ran: (feeds, seed) per trial, and where they come from."""

    trials: tuple[tuple[Feeds, int], ...]
    source: str


@dataclass(frozen=True)
class Hypothesis:
    """How the lengths of dynamic axes hang together, and what they are, trial by trial."""

    name: str
    tied: bool  # one batch on axis 0, one length on every other unnamed axis
    scale: int = 1
    lengths: Sequence[Mapping[str, int]] = _LENGTHS


_HYPOTHESES = (
    Hypothesis("axes of one name are equal", tied=False),
    Hypothesis("one batch, one length", tied=True),
    Hypothesis("one batch, one length, larger", tied=True, scale=8),
    Hypothesis("axes of one name are equal, larger", tied=False, scale=8),
    Hypothesis("one batch, one length, image-sized", tied=True, scale=32),
)


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
    chosen = known or guessed_specs(model)
    fixed = dict(dims or {})
    _check_dims(chosen, fixed)
    origin = "input spec of the model" if known else "seeded"
    failure = ""
    for hypothesis in (*first, *_HYPOTHESES):
        trials = tuple(
            (_feeds(chosen, hypothesis, fixed, number, seed + number), seed + number)
            for number in range(count)
        )
        if run is None:
            return Proposal(trials, origin)
        try:
            if _usable(run, chosen, hypothesis, fixed, trials):
                return Proposal(trials, origin)
            failure = "its outputs ignore its inputs"  # more telling than sizes it does not take
        except ModelkitError as error:
            failure = failure or error.cause or error.message
    raise CheckFailed(
        "no generated inputs run on this model with finite outputs that depend on them",
        cause=failure,
        hint="give real ones: --eval-data (compare), --calib-data (fp16, quantize), --sample "
        "(convert); optimize and convert go on unproven with --no-verify --no-measure",
        code="no-inputs",
    )


def typical_feeds(path: Path, *, dims: Mapping[str, int] | None = None, seed: int = 0) -> Feeds:
    """One set of inputs of the size such a model usually meets, for timing.

    Unless ``dims`` says otherwise batches are 1, sequences 128 and images 224 wide, and decoders
    get one token after 127.  A model that does not take these, or takes seconds for them, gets
    small ones.

    Raises:
        UsageError: ``dims`` names no axis; CheckFailed: see :func:`propose`.
    """
    model = load(path)
    specs = read_inputs(model) or guessed_specs(model)
    names = {dim for spec in specs for dim in spec.shape if isinstance(dim, str)}
    _check_dims(specs, dims or {})
    cached = any(spec.role == "past" for spec in specs)
    usual = {name: length for name, length in _USUAL.items() if name in names and not cached}
    fixed = _with_dims(specs, usual | dict(dims or {}))
    with open_session(path, optimize=False) as session:
        first = _typical(fixed, cached=cached)
        found = propose(model, session.run, specs=fixed, seed=seed, count=1, first=first)
        start = time.perf_counter()
        session.run(found.trials[0][0])
        if time.perf_counter() - start > _SLOW:
            found = propose(model, session.run, specs=fixed, seed=seed, count=1)
        return found.trials[0][0]


def _typical(specs: Sequence[InputSpec], *, cached: bool) -> tuple[Hypothesis, ...]:
    """All open axes but batches and pasts as long as such inputs usually are, or longer."""
    ranks = [
        len(spec.shape)
        for spec in specs
        if spec.role != "past" and any(isinstance(dim, str) for dim in spec.shape[2:])
    ]
    others = (1,) if cached else _SIDES.get(max(ranks, default=0), _SEQUENCE)
    return tuple(
        Hypothesis("usual lengths", True, lengths=({"batch": 1, "other": other, "past": _PAST},))
        for other in others
    )


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
    lengths = hypothesis.lengths[number % len(hypothesis.lengths)]
    shapes = dict(_shapes(specs, hypothesis, dims, lengths, number))
    return {spec.name: _values(spec, shapes[spec.name], random, number) for spec in specs}


def _shapes(
    specs: Sequence[InputSpec],
    hypothesis: Hypothesis,
    dims: Mapping[str, int],
    lengths: Mapping[str, int],
    number: int,
) -> Iterator[tuple[str, tuple[int, ...]]]:
    cached = any(spec.role == "past" for spec in specs)
    named: dict[str, int] = {}

    def length(spec: InputSpec, axis: int, dim: str) -> int:
        if dim in dims:
            return dims[dim]
        if axis == 0:
            found = lengths["batch"]
        elif spec.role == "past":
            found = lengths["past"]
        elif spec.role == "mask" and cached:
            found = lengths["past"] + lengths["other"]
        else:
            found = lengths["other"] * hypothesis.scale
        # Untied, each name gets a length of its own, so that a false tie shows.
        return found if hypothesis.tied else named.setdefault(dim, found + len(named) * (axis > 0))

    for spec in specs:
        sample = spec.samples[number % len(spec.samples)] if spec.samples and not dims else None
        if sample is not None and hypothesis is _HYPOTHESES[0]:
            yield spec.name, sample
            continue
        yield (
            spec.name,
            tuple(
                dim if isinstance(dim, int) else length(spec, axis, dim)
                for axis, dim in enumerate(spec.shape)
            ),
        )


def _values(
    spec: InputSpec, shape: tuple[int, ...], random: np.random.Generator, number: int
) -> np.ndarray:
    if spec.role == "mask":
        return _mask(spec, shape, padded=number > 0)
    if spec.role == "positions":
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(spec.dtype)
    if spec.dtype == "str":
        words = np.array(["a", "b", "some words", ""], dtype=object)
        return words[random.integers(0, len(words), shape)]
    if spec.dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    kind = _numpy_type(spec.dtype)
    if kind.kind in "iu":
        low = 0 if spec.low is None else int(spec.low)
        high = int(spec.high) if spec.high is not None else _UNKNOWN_ID_LIMIT
        return random.integers(low, min(high, np.iinfo(kind).max), shape, endpoint=True).astype(
            kind
        )
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
