"""What a model says of caches that it updates in place, kept in its metadata."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from onnx_ir import Model

KEY = "modelkit.shared_cache"


@dataclass(frozen=True)
class SharedCache:
    """Each output (present) that is an input (past) updated in place, when bound to its memory.

    A past is a buffer [batch, heads, places, width]; ``mask`` is the input [batch, total] that says
    how many places are filled after a run, ``tokens`` the input [batch, new] of what comes to it.
    Of a past kept in int8, ``scales`` holds those of its channels, [heads * width].
    """

    presents: Mapping[str, str]
    mask: str
    tokens: str
    scales: Mapping[str, Sequence[float]] = field(default_factory=dict)


def write_cache(model: Model, cache: SharedCache) -> None:
    """Keep ``cache`` in the model's metadata."""
    model.metadata_props[KEY] = json.dumps(asdict(cache), sort_keys=True)


def read_cache(metadata: Mapping[str, str]) -> SharedCache | None:
    """What :func:`write_cache` kept; None if there is nothing, or nothing that makes sense."""
    try:
        found = json.loads(metadata.get(KEY, "null"))
        presents = {str(key): str(value) for key, value in found["presents"].items()}
        scales = {
            str(name): tuple(float(scale) for scale in values)
            for name, values in found.get("scales", {}).items()
        }
        return SharedCache(presents, str(found["mask"]), str(found["tokens"]), scales)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
