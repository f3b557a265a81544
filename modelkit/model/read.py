"""Open a model file: the graph in memory, the weights mapped."""

import hashlib
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from modelkit.errors import BadInput
from modelkit.model import files, structure, wire
from modelkit.model.tensors import MappedTensor, release_view
from modelkit.safe import safe

_CHUNK = 1 << 22


def load(path: Path) -> ir.Model:
    """The model in ``path``; weights of 1 KiB and more stay in the file until they are read.

    Raises:
        BadInput: no such file, not ONNX, cut off, external data refused or out of bounds, or a
            graph that breaks the rules of :mod:`modelkit.model.structure`.
    """
    path = Path(path)
    proto, inline = _parsed(path)
    shown = safe(str(path))
    structure.check_proto(proto, shown)
    views = _views(proto, path, inline)
    try:
        model: ir.Model = ir.from_proto(proto)
    except (ir.serde.SerdeError, ValueError, KeyError, TypeError, RecursionError) as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        raise BadInput(
            f"{shown} holds no usable graph", cause=safe(str(root)), code="invalid-graph"
        ) from None
    _place(model, views)
    structure.validate(model)
    return model


def check(path: Path) -> None:
    """Read a file as :func:`load` does, as far as what may go wrong in writing one.

    Raises:
        BadInput: it is cut off, a weight lies outside its file, or the graph breaks the rules.
    """
    proto, inline = _parsed(path)
    structure.check_proto(proto, safe(str(path)))
    _views(proto, path, inline)


def sha256(path: Path) -> str:
    """Hash of a model file and of the data files it names, in the order of their names."""
    digest = hashlib.sha256()
    proto, _ = _parsed(path)
    locations = {
        entry.value
        for tensor, _ in structure.tensors(proto)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location" and entry.value != wire.MARKER
    }
    for name in (path, *(files.data_file(path, where, where) for where in sorted(locations))):
        with name.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _parsed(path: Path) -> tuple[onnx.ModelProto, memoryview]:
    data = files.mapped(path)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(wire.without_weights(data))
    except (wire.Malformed, DecodeError) as error:
        raise _foreign(path, data, safe(str(error))) from None
    release_view(data)
    if not proto.HasField("graph"):
        raise _foreign(path, data, "it has no graph")
    for block in (proto, *proto.functions):
        _use_one_name(block)
    _open_axes(proto.graph)
    return proto, data


def _use_one_name(block: onnx.ModelProto | onnx.FunctionProto) -> None:
    """Import ONNX's own operators by its empty name; "ai.onnx" is another (IR specification)."""
    plain = {entry.version for entry in block.opset_import if not entry.domain}
    for entry in [each for each in block.opset_import if each.domain == "ai.onnx"]:
        if entry.version in plain:
            block.opset_import.remove(entry)
        else:
            entry.domain = ""


def _open_axes(graph: onnx.GraphProto) -> None:
    """Leave out lengths below zero and the name "?", which Paddle's exporter writes for open axes.

    A name says that axes are equal; these say that nothing is known.
    """
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
            if dim.dim_value < 0 or dim.dim_param in ("?", "-1"):
                dim.Clear()


def _foreign(path: Path, data: memoryview, why: str) -> BadInput:
    shown, head = safe(str(path)), bytes(data[:64])
    # An IR version first, then a string or message of ModelProto, as every exporter writes it.
    if len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 64 and head[2] in _AFTER_VERSION:
        return BadInput(
            f"{shown} is cut off or damaged",
            cause=f"it begins as an ONNX model does, then {why}",
            hint="fetch or export it again; its checksum tells whether the copy is whole",
            code="not-onnx",
        )
    return BadInput(
        f"{shown} is not an ONNX model, or is cut off",
        cause=f"it looks like {files.looks_like(head)}; {why}",
        hint="if it is the file of a framework, `modelkit convert` turns it into ONNX; "
        "`modelkit convert --list` shows what it reads",
        code="not-onnx",
    )


_AFTER_VERSION = {number << 3 | 2 for number in (2, 3, 4, 6, 7, 8, 14)}
"""Tags that follow the IR version: producer, its version, domain, text, graph, opset, metadata."""

Views = dict[int, tuple[memoryview, Path]]


def _views(proto: onnx.ModelProto, path: Path, inline: memoryview) -> Views:
    """The bytes of every tensor that is not in the graph, by a key left in its ``offset``."""
    views: Views = {}
    opened = {wire.MARKER: (inline, path)}
    for tensor, sparse in structure.tensors(proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        where = f"'{safe(tensor.name)}' in {safe(str(path))}"
        if sparse:
            raise BadInput(
                f"sparse tensor {where} has external data, which is refused",
                code="external-data-refused",
            )
        entry = {item.key: item.value for item in tensor.external_data}
        location = entry.get("location", "")
        if location not in opened:
            file = files.data_file(path, location, tensor.name)
            opened[location] = (files.mapped(file), file)
        data, file = opened[location]
        view = _slice(data, entry, tensor, where)
        del tensor.external_data[:]
        for key, value in (("location", wire.MARKER), ("offset", str(len(views)))):
            tensor.external_data.add(key=key, value=value)
        views[len(views)] = (view, file)
    return views


def _slice(
    data: memoryview, entry: dict[str, str], tensor: onnx.TensorProto, where: str
) -> memoryview:
    try:
        expected = _byte_count(tensor)
        offset = _number(entry.get("offset", "0"))
        length = _number(entry["length"]) if "length" in entry else expected
    except (ValueError, TypeError):
        raise BadInput(f"tensor {where} has an impossible offset, length or type") from None
    if offset + length > len(data) or length != expected:
        raise BadInput(
            f"tensor {where} does not fit its data",
            cause=f"bytes {offset} to {offset + length} of {len(data)}, {expected} needed",
            hint="the data file is cut off or belongs to another model",
            code="external-data-bounds",
        )
    return data[offset : offset + length]


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ValueError(text)
    return int(text)


def _byte_count(tensor: onnx.TensorProto) -> int:
    size = 1
    for dim in tensor.dims:
        size *= dim
    bits = ir.DataType(tensor.data_type).bitwidth
    return (size * bits + 7) // 8


def _place(model: ir.Model, views: Views) -> None:
    """Give every value and attribute its mapped tensor."""
    graphs = {id(model.graph): model.graph}
    graphs |= {id(graph): graph for graph in model.graph.subgraphs()}
    nodes = list(model.graph.all_nodes())
    for function in model.functions.values():
        nodes += function.all_nodes()
        graphs |= {id(graph): graph for graph in function.subgraphs()}
    for graph in graphs.values():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = _mapped(value.const_value, views)
    for node in nodes:
        for name, attribute in list(node.attributes.items()):
            if attribute.is_ref() or attribute.type != ir.AttributeType.TENSOR:
                continue
            tensor = attribute.as_tensor()
            if isinstance(tensor, ir.ExternalTensor):
                node.attributes[name] = ir.AttrTensor(name, _mapped(tensor, views))


def _mapped(tensor: ir.ExternalTensor, views: Views) -> MappedTensor:
    view, path = views[tensor.offset or 0]
    mapped = MappedTensor(view, path, tensor.dtype, tensor.shape, tensor.name)
    mapped.metadata_props.update(tensor.metadata_props)
    return mapped
