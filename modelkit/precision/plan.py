"""Decide which nodes keep float, each with its reason."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from modelkit import progress
from modelkit.model import Model
from modelkit.precision.convert import Types, types_of
from modelkit.precision.islands import merge_islands
from modelkit.precision.kinds import MOVEMENT
from modelkit.precision.narrow import LARGEST
from modelkit.precision.ranges import Range, measure_ranges
from modelkit.precision.rules import Keep, Subject, apply_rules
from modelkit.precision.slots import Slot
from modelkit.precision.types import is_wide
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

FAITHFUL = 50.0
"""dB that a value must keep when it is rounded to half, or it is not."""


@dataclass(frozen=True)
class Evidence:
    """Inputs to find ranges with; ``headroom`` is how far real ones may exceed them."""

    samples: Sequence[Feeds] = ()
    headroom: float = 1.0
    origin: str = "the samples"


@dataclass(frozen=True)
class Wishes:
    """What the user decides: nodes by pattern or name, half inputs and outputs, where it runs."""

    patterns: tuple[re.Pattern[str], ...] = ()
    half_io: bool = False
    target: str = "cuda"
    float_names: frozenset[str] = field(default_factory=frozenset)


def make_plan(
    model: Model,
    half: ir.DataType,
    evidence: Evidence,
    wishes: Wishes,
    ranges: Mapping[str, Range] | None = None,
) -> tuple[Types, Keep]:
    """The types of a conversion of ``model``, whose own types are settled, and what keeps float.

    ``ranges`` are what :func:`find_ranges` found; None: find them.
    """
    keep: Keep = {}
    types = types_of(model, half, keep, half_io=wishes.half_io, target=wishes.target)
    subject = Subject(model, half, types.slots, wishes.patterns, keep)
    apply_rules(subject)
    for node in types.slots:
        if node.name in wishes.float_names:
            subject.add(node, "--mixed: in half it costs too much accuracy")
    found = find_ranges(model, half, evidence) if ranges is None else ranges
    for value in _measured(model, types) if found else ():
        reason = why_not(found.get(value.name or ""), half, evidence)
        if reason:
            _keep_around(subject, value, reason)
    merge_islands(model, types, keep)
    return types, keep


def find_ranges(model: Model, half: ir.DataType, evidence: Evidence) -> dict[str, Range]:
    """The range of each value that could be half, by name; bfloat16 has the range of float."""
    if half is not ir.DataType.FLOAT16 or not evidence.samples:
        return {}
    progress.step("finding ranges")
    values = _measured(model, types_of(model, half))
    names = [value.name for value in values if value.name]
    return measure_ranges(model, names, half, evidence.samples)


def why_not(found: Range | None, half: ir.DataType, evidence: Evidence) -> str:
    """Why a value of this range cannot be held in half; "" if it can."""
    if found is None or found.peak == float("inf"):
        return ""
    largest = LARGEST[half]
    if found.peak * evidence.headroom > largest:
        near = "" if found.peak > largest else f" (inputs may differ {evidence.headroom:g} times)"
        return f"reaches {found.peak:.3g} on {evidence.origin}, half ends at {largest:g}{near}"
    if found.kept < FAITHFUL:
        return f"values of up to {found.peak:.3g} keep {found.kept:.0f} dB in half"
    return ""


def _measured(model: Model, types: Types) -> list[ir.Value]:
    found = [value for value in model.graph.inputs if is_wide(value)]
    for node, slots in types.slots.items():
        if node.op_type in MOVEMENT:
            continue  # what it gives it was given
        for value, slot in zip(node.outputs, slots.outputs, strict=True):
            if slot is Slot.NARROWS:
                found.append(value)
    return found


def _keep_around(subject: Subject, value: ir.Value, reason: str) -> None:
    """Keep the maker of ``value`` and its readers; through operators that only move values."""
    maker = value.producer()
    if maker is not None:
        subject.add(maker, reason)
    waiting, seen = [value], {value}
    said = f"reads '{safe(value.name or '', 60)}', which {reason}"
    if reason.startswith("values"):
        said = f"reads '{safe(value.name or '', 60)}': {reason}"
    while waiting:
        for user, _ in waiting.pop().uses():
            subject.add(user, said)
            if user.op_type in MOVEMENT:
                new = [each for each in user.outputs if each not in seen]
                seen.update(new)
                waiting += new


def cast_share(values: Iterable[str], ranges: Mapping[str, Range]) -> float | None:
    """What part of all values that were measured is read by casts; None if none was measured.

    A cast costs as much as an operator that only reads and writes its value.
    """
    total = sum(each.elements for each in ranges.values())
    if not total:
        return None
    return sum(ranges[name].elements for name in values if name in ranges) / total
