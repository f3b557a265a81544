"""Move a model to another opset of the ONNX domain."""

from collections.abc import Callable, Iterator

import onnx
import onnx.inliner
import onnx_ir as ir

from modelkit import progress
from modelkit.errors import Unsupported
from modelkit.model import Model, clone
from modelkit.model.walk import ONNX, graphs, inside
from modelkit.passes.changes import Changes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.inline_functions import inline_functions
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.opsets.lower import lower
from modelkit.passes.opsets.schemas import schema
from modelkit.passes.opsets.widened import widened
from modelkit.passes.restore_convolutions import restore_convolutions
from modelkit.passes.shape_to_constant import shape_to_constant
from modelkit.passes.surgery import is_onnx
from modelkit.safe import safe

NEWEST = 26
NEWEST_IR = 13
PIVOT = 18
"""Below it onnx's converter is used, from it on onnxscript's, which keeps weights in place."""

SCRIPT_NEWEST = 25
LARGE_BYTES = 1024
MAX_EXPANSIONS = 3


def convert_opset(model: Model, version: int) -> Changes:
    """Rewrite ``model`` in place for opset ``version``; functions are inlined on the way.

    Weights are never copied.  The IR version rises to what the opset asks for, metadata stays.
    What a converter gets wrong is repaired here or refused; the caller still has to verify.

    Raises:
        Unsupported: no such opset, an operator that has no form there, or functions that cannot
            be inlined.  The model may then be half converted: convert a clone.
    """
    current = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    if current == version:
        return Changes()
    if not 7 <= version <= NEWEST or not 1 <= current <= NEWEST:
        raise Unsupported(
            f"opset {current} cannot become opset {version}",
            hint=f"opsets 7 to {NEWEST} can be written",
        )
    restore_convolutions(model)
    inline_functions(model)
    if model.functions:
        raise Unsupported(
            f"opset {current} cannot become opset {version}",
            cause="the model has functions that cannot be inlined",
        )
    progress.step(f"conversion to opset {version}")
    if version < current:
        _expand_newer(model, version)
        try:
            lower(model, version)
        except Unsupported as error:
            raise _refused(current, version, error.cause) from None
    elif current < PIVOT and not widened(model, version):
        _by_onnx(model, current, min(version, PIVOT))
    if model.opset_imports[""] < version and not widened(model, version):
        _by_script(model, min(version, SCRIPT_NEWEST))
    if model.opset_imports[""] < version:
        _by_onnx(model, model.opset_imports[""], version)
    needed = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", version)])
    model.ir_version = min(max(model.ir_version, needed), NEWEST_IR)
    model.graph.meta.pop("modelkit.names", None)
    return Changes(1, (f"opset {current} became {version}",))


def _by_script(model: Model, version: int) -> None:
    before = model.opset_imports[""]
    try:
        # Imported here: it costs as much as everything else together, and most runs need it not.
        from onnxscript import version_converter

        version_converter.convert_version(model, version, fallback=True)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise _refused(before, version, str(error)) from None
    if model.opset_imports.get("") != version:
        raise _refused(before, version, "the converter left the model as it was")


def _refused(before: int, version: int, cause: str) -> Unsupported:
    return Unsupported(f"opset {before} cannot become opset {version}", cause=safe(cause, 400))


def _by_onnx(model: Model, before: int, version: int) -> None:
    scaled = _resizes(model) if before <= 10 < version else []
    try:
        _through_proto(model, lambda proto: onnx.version_converter.convert_version(proto, version))
    except (onnx.version_converter.ConvertError, RuntimeError, ValueError, IndexError) as error:
        raise _refused(before, version, str(error)) from None
    _keep_sampling(model, scaled)


def _expand_newer(model: Model, version: int) -> None:
    """Replace operators that ``version`` lacks by the nodes ONNX defines them with."""
    for _ in range(MAX_EXPANSIONS):
        infer_symbols(model)
        newer = {
            node.op_type
            for graph in graphs(model)
            for node in graph
            if node.domain in ONNX and _expands(node.op_type, model.opset_imports[""], version)
        }
        if not newer:
            return
        kinds = [("", kind) for kind in sorted(newer)]
        before = model.graph.num_nodes()
        _through_proto(
            model,
            lambda proto, kinds=kinds: onnx.inliner.inline_selected_functions(  # type: ignore[misc]
                proto, kinds, inline_schema_functions=True
            ),
        )
        if model.graph.num_nodes() == before:
            return
        # The axes a definition computes must be plain to be spelled as attributes.
        for each in (lift_constants, infer_symbols, shape_to_constant):
            each(model)


def _expands(kind: str, current: int, version: int) -> bool:
    found = schema(kind, current, deprecated=True)
    if found is None or schema(kind, version) is not None:
        return False
    return bool(found.has_function or found.has_context_dependent_function)


def _through_proto(model: Model, change: Callable[[onnx.ModelProto], onnx.ModelProto]) -> None:
    """Let a function of onnx change the graph, without its weights."""
    copy = _weightless(model)
    copy.ir_version = max(copy.ir_version, 4)  # before, weights had to be inputs
    changed = ir.from_proto(change(ir.to_proto(copy))).graph
    _restore(changed, model.graph)
    model.graph = changed


def _weightless(model: Model) -> Model:
    """A copy whose large initializers are plain inputs, which the converter passes through."""
    copy = clone(model)
    for value in list(copy.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= LARGE_BYTES:
            continue
        assert value.name is not None
        value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.numpy().shape)
        del copy.graph.initializers[value.name]
        value.const_value = None
        if not value.is_graph_input():
            copy.graph.inputs.append(value)
    return copy


def _restore(graph: ir.Graph, original: ir.Graph) -> None:
    """Give the converted graph its weights, inputs, metadata and known types back."""
    by_name = {value.name: value for value in graph.inputs}
    for name, value in original.initializers.items():
        if name in by_name and name not in graph.initializers:
            by_name[name].const_value = value.const_value
            graph.register_initializer(by_name[name])
    graph.inputs.clear()
    graph.inputs.extend(by_name[value.name] for value in original.inputs)
    graph.name = original.name
    graph.doc_string = original.doc_string
    graph.metadata_props.update(original.metadata_props)
    for domain, version in original.opset_imports.items():
        graph.opset_imports.setdefault(domain, version)
    known = {value.name: value for value in _values(original)}
    for value in _values(graph):
        before = known.get(value.name)
        if not value.is_graph_output():
            # The converter writes wrong shapes onto the values it adds.
            value.shape = None if before is None else before.shape
        if before is not None:
            value.metadata_props.update(before.metadata_props)


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    for node in inside(graph):
        yield from node.outputs


def _resizes(model: Model) -> list[str]:
    """Outputs of the scaling operators whose default sampling changed in opset 11."""
    nodes = [node for node in inside(model.graph) if is_onnx(node, "Resize", "Upsample")]
    return [str(node.outputs[0].name) for node in nodes]


def _keep_sampling(model: Model, outputs: list[str]) -> None:
    names = set(outputs)
    for node in inside(model.graph):
        if is_onnx(node, "Resize") and node.outputs[0].name in names:
            node.attributes["coordinate_transformation_mode"] = ir.AttrString(
                "coordinate_transformation_mode", "asymmetric"
            )
            node.attributes["nearest_mode"] = ir.AttrString("nearest_mode", "floor")
