"""What a model's inputs hold, kept in its metadata by ``convert`` for every later step."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import onnx_ir as ir

KEY = "modelkit.inputs"
LOGIT_SCALE = "modelkit.logit_scale"
"""The factor of the cosine of two towers, in the metadata of each."""

ROLES = ("ids", "mask", "token_types", "positions", "pixels", "audio", "past", "float", "other")


@dataclass(frozen=True)
class InputSpec:
    """One input: what it means and which values make sense.

    Attributes:
        dtype: numpy name ("float32", "int64", "bool", "str").
        shape: a length or the name of a dynamic axis per dimension.
        role: one of :data:`ROLES`.
        low, high: smallest and largest sensible value (``high`` included); None is unknown.
        samples: shapes on which the source framework ran.
        choices: the values that a single number may have, where the graph tells them apart.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    role: str = "other"
    low: float | None = None
    high: float | None = None
    samples: tuple[tuple[int, ...], ...] = ()
    choices: tuple[int, ...] = ()


def write_inputs(model: ir.Model, specs: Iterable[InputSpec]) -> None:
    """Keep ``specs`` in the model's metadata."""
    model.metadata_props[KEY] = json.dumps([asdict(spec) for spec in specs], sort_keys=True)


def read_inputs(model: ir.Model) -> tuple[InputSpec, ...]:
    """The specs kept in the model; empty when there are none or they do not fit its inputs."""
    try:
        entries = json.loads(model.metadata_props.get(KEY, "[]"))
        specs = tuple(_spec(entry) for entry in entries)
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()
    names = [value.name for value in model.graph.inputs]
    return specs if [spec.name for spec in specs] == names else ()


def _spec(entry: dict[str, object]) -> InputSpec:
    shape, samples, choices = entry["shape"], entry.get("samples", []), entry.get("choices", [])
    if not (isinstance(shape, list) and isinstance(samples, list) and isinstance(choices, list)):
        raise TypeError("shape")
    return InputSpec(
        name=str(entry["name"]),
        dtype=str(entry["dtype"]),
        shape=tuple(dim if isinstance(dim, int) else str(dim) for dim in shape),
        role=str(entry.get("role", "other")),
        low=_number(entry.get("low")),
        high=_number(entry.get("high")),
        samples=tuple(tuple(int(dim) for dim in sample) for sample in samples),
        choices=tuple(int(choice) for choice in choices),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
