"""The central type, ``onnx_ir.Model``, and the only place that sees files and protobuf."""

from onnx_ir import Model

from modelkit.model.caches import SharedCache, read_cache, write_cache
from modelkit.model.constants import add_constant, add_lazy, const_of, fresh_name
from modelkit.model.facts import facts, newest_of, operator_counts
from modelkit.model.inputs import LOGIT_SCALE, InputSpec, read_inputs, write_inputs
from modelkit.model.provenance import add_step, history, strip_debug
from modelkit.model.read import load, sha256
from modelkit.model.structure import validate
from modelkit.model.tensors import release
from modelkit.model.type_check import type_error
from modelkit.model.walk import bodies, graphs, inside, nested, nodes
from modelkit.model.write import Staged, check_target, save, stage


def clone(model: Model) -> Model:
    """A model that can be changed without changing ``model``; weights are shared, not copied."""
    return model.clone()


__all__ = [
    "LOGIT_SCALE",
    "InputSpec",
    "Model",
    "SharedCache",
    "Staged",
    "add_constant",
    "add_lazy",
    "add_step",
    "bodies",
    "check_target",
    "clone",
    "const_of",
    "facts",
    "fresh_name",
    "graphs",
    "history",
    "inside",
    "load",
    "nested",
    "newest_of",
    "nodes",
    "operator_counts",
    "read_cache",
    "read_inputs",
    "release",
    "save",
    "sha256",
    "stage",
    "strip_debug",
    "type_error",
    "validate",
    "write_cache",
    "write_inputs",
]
