"""How the open axes of a model's inputs may hang together, and how long they may be.

Names of axes do not say which are equal, and graphs are built for lengths that no name tells: the
sides of an image pyramid, a window of sound, a batch of one.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from modelkit.model import InputSpec
from modelkit.runtime.pictures import is_picture

# Two shapes, both odd in places, that no exporter used for its sample.
_LENGTHS = ({"batch": 1, "other": 7, "past": 5}, {"batch": 3, "other": 10, "past": 2})
_SIDES = {4: (224, 256), 5: (16, 32)}
"""Usual lengths of open axes by the rank of an input, in the order they are tried."""
_SEQUENCE = (128, 64, 1024, 4096)
"""Those of all other inputs: tokens and frames, a short context, sound."""
_SECOND = 16000
"""A second of sound."""
_LARGEST = 1 << 22
"""Product of an input's open axes beyond which a hypothesis is not tried."""
_PAST = 127
_CHANNELS = 12
"""The most of an input of samples: the leads of an electrocardiogram."""
_STATE = re.compile("state|hidden|memory")


def _lengths(*others: int) -> tuple[dict[str, int], ...]:
    """The two shapes with ``others`` for the lengths that are neither batch nor past."""
    return tuple(usual | {"other": other} for usual, other in zip(_LENGTHS, others, strict=True))


@dataclass(frozen=True)
class Hypothesis:
    """How the lengths of dynamic axes hang together, and what they are, trial by trial."""

    name: str
    tied: bool  # one batch on axis 0, one length on every other unnamed axis
    scale: int = 1
    lengths: Sequence[Mapping[str, int]] = _LENGTHS
    step: int = 1  # between the lengths of axes of other names
    sound: bool = False  # for inputs of one open length only
    states: bool = False  # whose second axis is the batch of axis 0


_HYPOTHESES = (
    Hypothesis("axes of one name are equal", tied=False),
    Hypothesis("one batch, one length", tied=True),
    Hypothesis("one batch, one length, larger", tied=True, scale=8),
    Hypothesis("axes of one name are equal, larger", tied=False, scale=8),
    Hypothesis("one batch, one length, image-sized", tied=True, scale=32),
    Hypothesis("sides of whole pyramids", tied=False, lengths=_lengths(192, 256), step=64),
    Hypothesis("one side of whole pyramids", tied=True, lengths=_lengths(256, 384)),
    Hypothesis("states of the batch", tied=True, states=True),
    Hypothesis("states of the batch, larger", tied=True, lengths=_lengths(256, 512), states=True),
    Hypothesis("sound", tied=True, lengths=_lengths(16000, 24000), sound=True, states=True),
)

# As graphs want them that take the mean over turned and mirrored copies of one input.
_FOURS = Hypothesis(
    "batches of four and eight",
    tied=True,
    lengths=tuple({**each, "batch": n} for each, n in zip(_LENGTHS, (4, 8), strict=True)),
)


def tries(
    specs: tuple[InputSpec, ...], first: Sequence[Hypothesis]
) -> Iterator[tuple[tuple[InputSpec, ...], Hypothesis]]:
    """What to try, likeliest first; then batches of one, which some graphs are built for.

    A number that the graph tells from one other is also tried as another: both branches count.
    After noise come drawn pictures, at last batches of four.
    """
    usual = [
        each
        for each in _HYPOTHESES
        if (not each.sound or _is_sound(specs))
        and (not each.states or each.sound or any(_is_state(spec, 1) for spec in specs))
    ]
    ones = [replace(each, lengths=_of_one(each.lengths)) for each in usual]
    both = tuple(
        replace(spec, choices=(*spec.choices, spec.choices[0] // 2))
        if len(spec.choices) == 1
        else spec
        for spec in specs
    )
    for hypothesis in (*first, *usual, *ones):
        yield both, hypothesis
        if both != specs:
            yield specs, hypothesis
    if (drawn := with_pictures(both)) != both:
        yield from ((drawn, hypothesis) for hypothesis in usual)
    yield both, _FOURS


def with_pictures(specs: tuple[InputSpec, ...]) -> tuple[InputSpec, ...]:
    """``specs`` with drawn pictures where noise would be fed to what may be an image."""
    return tuple(
        replace(spec, role="drawn")
        if spec.role == "pixels" and spec.low is None and is_picture(spec.shape)
        else spec
        for spec in specs
    )


def _of_one(lengths: Sequence[Mapping[str, int]]) -> tuple[Mapping[str, int], ...]:
    return tuple({**each, "batch": 1} for each in lengths)


def fits(
    specs: Sequence[InputSpec], hypothesis: Hypothesis, dims: Mapping[str, int], count: int
) -> bool:
    """Whether the open axes of no input make it larger than memory is lightly given for."""
    for number in range(count):
        shapes = dict(shapes_of(specs, hypothesis, dims, number))
        for spec in specs:
            pairs = zip(spec.shape, shapes[spec.name], strict=False)
            chosen = (n for dim, n in pairs if isinstance(dim, str) and dim not in dims)
            if math.prod(chosen) > _LARGEST:
                return False
    return True


def usual_lengths(specs: Sequence[InputSpec], *, cached: bool) -> tuple[Hypothesis, ...]:
    """All open axes but batches and pasts as long as such inputs usually are, or longer."""
    ranks = [
        len(spec.shape)
        for spec in specs
        if spec.role != "past" and any(isinstance(dim, str) for dim in spec.shape[2:])
    ]
    usual = (1,) if cached else _SIDES.get(max(ranks, default=0), _SEQUENCE)
    others = (*usual, _SECOND) if _is_sound(specs) else usual
    return tuple(
        Hypothesis("usual lengths", True, lengths=({"batch": 1, "other": other, "past": _PAST},))
        for other in others
    )


def shapes_of(
    specs: Sequence[InputSpec],
    hypothesis: Hypothesis,
    dims: Mapping[str, int],
    number: int,
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The shape of each input by name, in trial ``number``; ``dims`` fixes axes by name."""
    lengths = hypothesis.lengths[number % len(hypothesis.lengths)]
    cached = any(spec.role == "past" for spec in specs)
    batches = {spec.shape[0] for spec in specs if spec.shape}
    named: dict[str, int] = {}

    def length(spec: InputSpec, axis: int, dim: str) -> int:
        if dim in dims:
            return dims[dim]
        state = hypothesis.states and _is_state(spec, axis)
        if axis == 0 or state or (hypothesis.tied and dim in batches):
            found = lengths["batch"]
        elif spec.role == "past":
            found = lengths["past"]
        elif spec.role == "mask" and cached:
            found = lengths["past"] + lengths["other"]
        else:
            found = lengths["other"] * hypothesis.scale
        # Untied, each name gets a length of its own, so that a false tie shows.
        more = len(named) * hypothesis.step if axis > 0 else 0
        return found if hypothesis.tied else named.setdefault(dim, found + more)

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


def _is_state(spec: InputSpec, axis: int) -> bool:
    """Whether the axis is the batch of a recurrent layer's state, [layers, batch, channels]."""
    if len(spec.shape) != 3 or axis != 1 or not spec.dtype.startswith("float"):
        return False
    layers, _, channels = spec.shape
    named = spec.name.lower() in ("h", "c", "h0", "c0") or _STATE.search(spec.name.lower())
    return isinstance(layers, int) and isinstance(channels, int) and bool(layers > 1 or named)


def _is_sound(specs: Sequence[InputSpec]) -> bool:
    """Whether an input may be samples: of sound, of sensors, bases of DNA as one-hot rows.

    It has floats, one open length beside the batch, and few channels.
    """
    return any(
        spec.role == "float"
        and 0 < len(spec.shape) <= 3
        and sum(isinstance(dim, str) for dim in spec.shape[1:]) + (len(spec.shape) == 1) == 1
        and all(dim <= _CHANNELS for dim in spec.shape[1:] if isinstance(dim, int))
        for spec in specs
    )
