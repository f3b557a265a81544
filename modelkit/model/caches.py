"""What a model says of caches that it updates in place, kept in its metadata."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from onnx_ir import Model

KEY = "modelkit.shared_cache"


@dataclass(frozen=True)
class SharedCache:
    """Each output (present) that is an input (past) updated in place, when bound to its memory.

    A past is a buffer [batch, heads, places, width]; ``mask`` is the input [batch, total] that says
    how many places are filled after a run, ``tokens`` the input [batch, new] of what comes to it.
    """

    presents: Mapping[str, str]
    mask: str
    tokens: str


def write_cache(model: Model, cache: SharedCache) -> None:
    """Keep ``cache`` in the model's metadata."""
    model.metadata_props[KEY] = json.dumps(asdict(cache), sort_keys=True)


def read_cache(metadata: Mapping[str, str]) -> SharedCache | None:
    """What :func:`write_cache` kept; None if there is nothing, or nothing that makes sense."""
    try:
        found = json.loads(metadata.get(KEY, "null"))
        presents = {str(key): str(value) for key, value in found["presents"].items()}
        return SharedCache(presents, str(found["mask"]), str(found["tokens"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
