"""Write a model so that either the old output or the complete new one is there, at every moment.

The new file is streamed to a temporary name beside its target; weights too large for a protobuf go
to ``<stem>.<hash12>.onnx.data`` under their final name first, so that replacing the ``.onnx`` is
the only commit and a model can never meet another model's weights.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from modelkit import progress
from modelkit.errors import BadInput, CannotWrite
from modelkit.model import wire
from modelkit.model.files import mapped
from modelkit.model.read import check
from modelkit.model.tensors import raw, release, release_view
from modelkit.model.walk import nodes
from modelkit.safe import safe

INLINE_LIMIT = 1 << 30
"""Above this many bytes of weights they go to a file of their own; protobuf ends at 2 GiB."""

LATEST_IR = 13
"""Newest IR version that ONNX Runtime 1.31 opens (measured; onnx 1.23 itself writes 14)."""

_ALIGNMENT = 4096  # ONNX Runtime maps external data where offsets are multiples of a page
_CHUNK = 1 << 22
_RAW_DATA = 9
_NAME_OF_DATA = re.compile(r"\.[0-9a-f]{12}\.onnx\.data\Z")

Weights = list[tuple[str, ir.TensorProtocol]]


def check_target(target: Path, *, force: bool) -> None:
    """Refuse a target that cannot be written, before any work is done.

    Raises:
        CannotWrite: it exists and ``force`` is off, is no regular file, or its folder is missing
            or not writable.
    """
    shown = safe(str(target))
    if target.is_dir():
        raise CannotWrite(f"{shown} is a folder", hint="name a file, as -o model.onnx")
    if not target.parent.is_dir():
        raise CannotWrite(f"the folder {safe(str(target.parent))} does not exist")
    if target.exists() and not target.is_file():
        raise CannotWrite(f"{shown} is a device or pipe, not a regular file")
    if target.exists() and not force:
        raise CannotWrite(f"{shown} exists", hint="add --force to replace it", code="exists")
    if not os.access(target.parent, os.W_OK):
        raise CannotWrite(f"the folder {safe(str(target.parent))} is not writable")


class Staged:
    """An output written completely but not yet in its place; leaving the block discards it."""

    def __init__(self, path: Path, target: Path, data: Path | None, created: bool) -> None:
        self.path = path
        self._target = target
        self._data = data if created else None
        self._used = data
        self._settled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    @property
    def bytes(self) -> int:
        """What the model takes on the disk."""
        files = [path for path in (self.path, self._used) if path is not None]
        return sum(path.stat().st_size for path in files)

    def commit(self) -> Path:
        """Put the output in place, durably, and return where it is."""
        old = _own_data(self._target) - {self._used}
        if self._data is not None:
            # From here on the data belongs to the output: a kill may leave it, never take it.
            progress.settled(str(self._data))
        with _refusals(self._target):
            self.path.replace(self._target)
            _sync_folder(self._target.parent)
        self._settle()
        for path in old:
            path.unlink(missing_ok=True)
        return self._target

    def discard(self) -> None:
        """Remove what was written; nothing that was there before is touched."""
        if not self._settled:
            self.path.unlink(missing_ok=True)
            if self._data is not None:
                self._data.unlink(missing_ok=True)
            self._settle()

    def _settle(self) -> None:
        self._settled = True
        progress.settled(str(self.path))
        if self._data is not None:
            progress.settled(str(self._data))


def stage(model: ir.Model, target: Path, *, force: bool = False) -> Staged:
    """Write ``model`` beside ``target`` under a temporary name, read it again, and return it.

    Raises:
        CannotWrite: see :func:`check_target`; also a full disk.  Nothing is left behind.
        BadInput: the file just written cannot be read again.
    """
    target = Path(target)
    check_target(target, force=force)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp.onnx"
    progress.temporary(str(temporary))
    _make_presentable(model)
    weights, proto = _split(model)
    data: Path | None = None
    created = False
    try:
        with _refusals(target):
            if sum(tensor.nbytes for _, tensor in weights) > INLINE_LIMIT:
                data, created = _write_data(weights, proto, target)
                weights = []
            with temporary.open("xb") as file:
                _write_model(proto, weights, file)
                file.flush()
                os.fsync(file.fileno())
        check(temporary)
    except BaseException:
        Staged(temporary, target, data, created).discard()
        raise
    return Staged(temporary, target, data, created)


def save(model: ir.Model, target: Path, *, force: bool = False) -> Path:
    """Write ``model`` to ``target`` and commit; for models that need no further check."""
    with stage(model, target, force=force) as staged:
        return staged.commit()


def _make_presentable(model: ir.Model) -> None:
    """Name every node, each once: legal ONNX repeats names, ONNX Runtime refuses them."""
    model.ir_version = min(model.ir_version, LATEST_IR)
    taken: set[str] = set()
    last: dict[str, int] = {}
    for node in nodes(model):
        stem = name = node.name or f"{node.op_type}_0"
        while name in taken:
            last[stem] = last.get(stem, 0) + 1
            name = f"{stem}_{last[stem]}"
        node.name = name
        taken.add(name)


def _split(model: ir.Model) -> tuple[Weights, onnx.ModelProto]:
    """The weights to stream, and the model without them."""
    values = [
        (name, value, value.const_value)
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
        and value.const_value.nbytes >= wire.SMALLEST
        and value.const_value.dtype != ir.DataType.STRING
    ]
    try:
        for name, value, tensor in values:
            # A stand-in that serializes without its bytes.
            value.const_value = ir.ExternalTensor(
                wire.MARKER, 0, 0, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name
            )
        proto = ir.to_proto(model)
    finally:
        for _, value, tensor in values:
            value.const_value = tensor
    streamed = {name for name, _, _ in values}
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in streamed]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    # An initializer says its type itself.
    told = [info for info in proto.graph.value_info if info.name not in model.graph.initializers]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(told)
    return [(name, tensor) for name, _, tensor in values], proto


def _header(name: str, tensor: ir.TensorProtocol) -> onnx.TensorProto:
    proto = onnx.TensorProto(name=name, data_type=tensor.dtype.value, dims=tensor.shape.numpy())
    if tensor.doc_string:
        proto.doc_string = tensor.doc_string
    return proto


def _write_model(proto: onnx.ModelProto, weights: Weights, file: BinaryIO) -> None:
    """Stream the ModelProto; the graph's large initializers come last in it."""
    graph = proto.graph.SerializeToString(deterministic=True)
    rest = onnx.ModelProto()
    rest.CopyFrom(proto)
    rest.ClearField("graph")
    heads = []
    total = len(graph)
    for name, tensor in weights:
        body = _header(name, tensor).SerializeToString(deterministic=True)
        body += wire.varint(_RAW_DATA << 3 | 2) + wire.varint(tensor.nbytes)
        head = wire.varint(5 << 3 | 2) + wire.varint(len(body) + tensor.nbytes) + body
        heads.append(head)
        total += len(head) + tensor.nbytes
    file.write(rest.SerializeToString(deterministic=True))
    file.write(wire.varint(7 << 3 | 2) + wire.varint(total) + graph)
    for head, (_, tensor) in zip(heads, weights, strict=True):
        file.write(head)
        for chunk in _chunks(tensor):
            file.write(chunk)


def _write_data(weights: Weights, proto: onnx.ModelProto, target: Path) -> tuple[Path, bool]:
    """Stream the weights to their own file, named by content; note them in ``proto``."""
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp.data"
    progress.temporary(str(temporary))
    try:
        digest = hashlib.sha256()
        places = []
        with temporary.open("xb") as file:
            for _, tensor in weights:
                padding = b"\0" * (-file.tell() % _ALIGNMENT)
                file.write(padding)
                digest.update(padding)
                places.append(file.tell())
                for chunk in _chunks(tensor):
                    file.write(chunk)
                    digest.update(chunk)
            file.flush()
            os.fsync(file.fileno())
        final = target.parent / f"{target.stem}.{digest.hexdigest()[:12]}.onnx.data"
        created = not final.exists()
        if created:
            progress.temporary(str(final))
        temporary.replace(final)
        _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
        progress.settled(str(temporary))
    for (name, tensor), offset in zip(weights, places, strict=True):
        header = _header(name, tensor)
        header.data_location = onnx.TensorProto.EXTERNAL
        entries = (("location", final.name), ("offset", offset), ("length", tensor.nbytes))
        for key, value in entries:
            header.external_data.add(key=key, value=str(value))
        proto.graph.initializer.append(header)
    return final, created


def _chunks(tensor: ir.TensorProtocol) -> Iterator[memoryview]:
    view = raw(tensor)
    for start in range(0, len(view), _CHUNK):
        yield view[start : start + _CHUNK]
        release_view(view[start : start + _CHUNK])
    release(tensor)


def _own_data(target: Path) -> set[Path]:
    """Data files that the model at ``target`` reads and that modelkit named."""
    if not target.is_file():
        return set()
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(wire.without_weights(mapped(target)))
    except (BadInput, wire.Malformed, DecodeError):
        return set()  # whatever is there is not ours
    names = {
        entry.value
        for tensor in proto.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return {
        target.parent / name
        for name in names
        if _NAME_OF_DATA.search(name) and name.startswith(f"{target.stem}.") and "/" not in name
    }


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _refusals(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(
            f"{safe(str(target))} could not be written",
            cause=error.strerror or str(error),
            hint="free some space or choose another place with -o; nothing was changed",
        ) from error
