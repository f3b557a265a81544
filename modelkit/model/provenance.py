"""Where a model comes from: the steps modelkit took, in its own metadata.

No time, host, user or path is kept, so the same input and options give the same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

import modelkit
from modelkit.model.walk import graphs, nodes

KEY = "modelkit.history"

# What torch's exporters leave behind: absolute paths and lines of the user's source.
_DEBUG_PREFIXES = ("pkg.torch.", "pkg.onnxscript.", "namespace")


def add_step(
    model: ir.Model,
    verb: str,
    recipe: Mapping[str, Any],
    source_sha256: str,
    decisions: Sequence[str] = (),
) -> None:
    """Append one step: what was asked, of which source, and what was decided on the way."""
    entry = {
        "decisions": list(decisions),
        "modelkit": modelkit.__version__,
        "recipe": dict(recipe),
        "source_sha256": source_sha256,
        "verb": verb,
    }
    model.metadata_props[KEY] = json.dumps([*history(model), entry], sort_keys=True)


def history(model: ir.Model) -> list[dict[str, Any]]:
    """The steps so far, oldest first; empty when there are none or somebody broke them."""
    try:
        steps = json.loads(model.metadata_props.get(KEY, "[]"))
    except (ValueError, RecursionError):
        return []
    if not isinstance(steps, list):
        return []
    return [step for step in steps if isinstance(step, dict)]


def strip_debug(model: ir.Model) -> int:
    """Drop stack traces, module paths and doc strings of exporters; say how many were dropped."""
    dropped = 0
    holders: list[Any] = [model, *graphs(model), *model.functions.values(), *nodes(model)]
    for holder in list(holders):
        if isinstance(holder, ir.Node):
            holders += holder.outputs
        if isinstance(holder, ir.Graph):
            holders += [*holder.inputs, *holder.initializers.values()]
    for holder in holders:
        for key in [k for k in holder.metadata_props if k.startswith(_DEBUG_PREFIXES)]:
            del holder.metadata_props[key]
            dropped += 1
        if getattr(holder, "doc_string", None):
            holder.doc_string = None
            dropped += 1
    return dropped
