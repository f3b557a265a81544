"""Up to which opset the installed ONNX Runtime has the kernels of a model."""

from modelkit.model import Model
from modelkit.model.walk import ONNX, graphs
from modelkit.passes.opsets.schemas import schema
from modelkit.runtime.kernels import has_kernel


def runnable(model: Model, highest: int) -> tuple[int, str]:
    """The newest opset up to ``highest`` that keeps every kernel, and the operator that ends there.

    Kernels are registered for versions of operators, and a few have none for the newest: ONNX
    Runtime 1.31 runs RoiAlign-16, but not RoiAlign-22.  What has no kernel now ends nothing.
    """
    current = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    kinds = {node.op_type for graph in graphs(model) for node in graph if node.domain in ONNX}
    running = sorted(kind for kind in kinds if _runs(kind, current))
    for version in range(current + 1, highest + 1):
        for kind in running:
            if not _runs(kind, version):
                return version - 1, kind
    return max(current, highest), ""


def _runs(kind: str, version: int) -> bool:
    found = schema(kind, version, deprecated=True)
    if found is None:
        return False
    expands = found.has_function or found.has_context_dependent_function
    return bool(expands) or has_kernel("", kind, found.since_version)
