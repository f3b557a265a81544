"""Read an ONNX file without reading its weights.

The protobuf wire format is scanned once; the ``raw_data`` of large tensors stays in the file and
is replaced by a note (offset, length), so that a model of any size parses in the memory of its
graph.  Source: https://protobuf.dev/programming-guides/encoding/ and onnx.proto (field numbers).
"""

from collections.abc import Iterator

# A tensor below this many bytes is parsed with the graph; mapping it would cost more.
SMALLEST = 1024

MARKER = "modelkit:inline"
"""``location`` of a tensor whose bytes lie in the .onnx file itself; no path can be this."""

# Message, field number -> message of that field, for the fields that may hold tensors.
_GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _FUNCTION, _MODEL = range(6)
_INNER: dict[int, dict[int, int]] = {
    _MODEL: {7: _GRAPH, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR},
    _FUNCTION: {7: _NODE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH},
}
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14

# Deeper than protobuf itself accepts.
_DEEPEST = 100


class Malformed(ValueError):
    """The bytes are not a protobuf message; the text says where."""


def without_weights(data: memoryview) -> bytes:
    """The ModelProto in ``data`` with large ``raw_data`` replaced by an external-data note.

    The note has ``location`` :data:`MARKER` and ``offset`` and ``length`` into ``data``.

    Raises:
        Malformed: the bytes end early or hold an impossible field.
    """
    return bytes(_copied(data, 0, len(data), _MODEL, 0))


def varint(number: int) -> bytes:
    """``number`` (>= 0) in base 128, least significant group first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field with its tag and length."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Each field as (number, wire type, start of tag, start of payload, end of payload)."""
    at = start
    while at < end:
        tag_at = at
        tag, at = _varint_at(data, at, end)
        number, kind = tag >> 3, tag & 7
        if kind == 2:
            length, at = _varint_at(data, at, end)
            stop = at + length
        elif kind == 0:
            _, stop = _varint_at(data, at, end)
        elif kind in (1, 5):
            stop = at + (8 if kind == 1 else 4)
        else:
            raise Malformed(f"wire type {kind} at byte {tag_at}")
        if stop > end or number == 0:
            raise Malformed(f"field {number} at byte {tag_at} runs past its end")
        yield number, kind, tag_at, at, stop
        at = stop


def _varint_at(data: memoryview, at: int, end: int) -> tuple[int, int]:
    number = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise Malformed(f"a number breaks off at byte {at}")


def _copied(data: memoryview, start: int, end: int, message: int, depth: int) -> bytearray:
    if depth > _DEEPEST:
        raise Malformed("nested too deeply")
    if message == _TENSOR:
        return _tensor(data, start, end)
    inner = _INNER[message]
    out = bytearray()
    for number, kind, tag_at, at, stop in fields(data, start, end):
        if kind == 2 and number in inner and stop - at > SMALLEST:
            out += field(number, bytes(_copied(data, at, stop, inner[number], depth + 1)))
        else:
            out += data[tag_at:stop]
    return out


def _tensor(data: memoryview, start: int, end: int) -> bytearray:
    out = bytearray()
    raw: tuple[int, int] | None = None
    external = False
    for number, kind, tag_at, at, stop in fields(data, start, end):
        if number == _RAW_DATA and kind == 2:
            raw = (at, stop - at)
        elif number == _EXTERNAL_DATA:
            external = True
            out += data[tag_at:stop]
        else:
            out += data[tag_at:stop]
    if raw is None:
        return out
    if external:
        raise Malformed("a tensor has its bytes both inside and outside the file")
    if raw[1] < SMALLEST:
        return bytearray(data[start:end])
    for key, value in (("location", MARKER), ("offset", str(raw[0])), ("length", str(raw[1]))):
        entry = field(1, key.encode()) + field(2, value.encode())
        out += field(_EXTERNAL_DATA, entry)
    out += varint(_DATA_LOCATION << 3) + b"\x01"
    return out
