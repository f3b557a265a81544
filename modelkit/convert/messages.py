"""Which framework wrote a protobuf file, from the numbers and types of its fields.

The formats have no magic number; their outer fields differ.  Field numbers are those of the
public .proto files of ONNX, TensorFlow, Caffe, Caffe2, Core ML and Paddle.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from modelkit.convert.archives import Detected
from modelkit.model import wire
from modelkit.model.files import mapped

_VARINT, _BYTES = 0, 2
_FIRST_COREML_KIND = 200
_CAFFE_LAYER = 100
_MOST_FIELDS = 200_000
_NEWEST_IR = 30
# Tags that may follow ir_version: names, graph and opset_import, then model_version.
_SECOND_TAGS = frozenset([number << 3 | _BYTES for number in (2, 3, 4, 6, 7, 8, 14)] + [5 << 3])


class Message(NamedTuple):
    """The outer fields of a message: (number, wire type) to the place of the first such payload.

    ``whole`` is whether the bytes end where the last field ends.
    """

    fields: dict[tuple[int, int], tuple[int, int]]
    whole: bool


def outline(data: memoryview, start: int, end: int) -> Message:
    """The outer fields of ``data[start:end]`` up to its end or the first that is malformed."""
    found: dict[tuple[int, int], tuple[int, int]] = {}
    try:
        for number, kind, at, stop in _fields(data, start, end):
            found.setdefault((number, kind), (at, stop))
    except wire.Malformed:
        return Message(found, False)
    return Message(found, bool(found))


def _fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    for count, (number, kind, _, at, stop) in enumerate(wire.fields(data, start, end)):
        if count == _MOST_FIELDS:
            return
        yield number, kind, at, stop


def in_message(path: Path) -> Detected | None:
    """The format of a protobuf file, None when it is none of the known."""
    data = mapped(path)
    message = outline(data, 0, len(data))
    has = message.fields.keys()
    if not message.whole:
        return None
    if {(1, _VARINT), (7, _BYTES), (8, _BYTES)} <= has:
        return Detected("onnx", "an ONNX ModelProto")
    if (1, _VARINT) in has and (2, _BYTES) in has:
        if any(number >= _FIRST_COREML_KIND for number, _ in has):
            return Detected("coreml", "a Core ML model")
        # MetaGraphDef: meta_info 1, graph_def 2.
        inner = outline(data, *message.fields[2, _BYTES])
        if has == {(1, _VARINT), (2, _BYTES)} and inner.whole and (2, _BYTES) in inner.fields:
            return Detected("saved-model", "a SavedModel message")
    if (_CAFFE_LAYER, _BYTES) in has:
        return Detected("caffe", "Caffe layers")
    return _graph(data, message)


def _graph(data: memoryview, message: Message) -> Detected | None:
    """The formats that are a list of nodes, told apart by what their first node holds."""
    has = message.fields.keys()
    if (1, _BYTES) in has:
        first = outline(data, *message.fields[1, _BYTES])
        if first.whole and {(1, _VARINT), (2, _VARINT)} <= first.fields.keys():
            return Detected("paddle", "a Paddle ProgramDesc")
        if {(2, _BYTES), (3, _BYTES)} <= has and first.whole and (5, _BYTES) in first.fields:
            return Detected("meta-graph", "a TensorFlow MetaGraphDef")
        # NodeDef: name 1, op 2.
        if first.whole and {(1, _BYTES), (2, _BYTES)} <= first.fields.keys():
            return Detected("frozen-graph", "a TensorFlow GraphDef")
    if (2, _BYTES) in has:
        operator = outline(data, *message.fields[2, _BYTES])
        # OperatorDef: output 2, type 4.
        if operator.whole and {(2, _BYTES), (4, _BYTES)} <= operator.fields.keys():
            return Detected("caffe2", "Caffe2 operators")
    return None


def begins_like_onnx(path: Path) -> bool:
    """Whether a file that breaks off starts with an ir_version and a field of ModelProto."""
    data = mapped(path)
    starts = len(data) > 2 and data[0] == 1 << 3 and 0 < data[1] <= _NEWEST_IR
    return starts and data[2] in _SECOND_TAGS and not outline(data, 0, len(data)).whole
