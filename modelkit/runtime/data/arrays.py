"""Input values out of files of plain numbers: .npy, .npz, and the .pb files of test data sets."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from modelkit import progress
from modelkit.errors import BadInput, UsageError
from modelkit.model.files import regular_file
from modelkit.runtime.ports import Port
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

# A zip bomb expands a thousandfold; honest arrays rarely tenfold.
_LARGEST_EXPANSION = 200
_LARGEST_FILE = 64 << 30


def read_npy(path: Path, inputs: Sequence[Port]) -> Feeds:
    """The array of a .npy file for a model of one input.

    Raises:
        UsageError: the model has several inputs.
        BadInput: no plain array, or values that do not fit.
    """
    if len(inputs) != 1:
        names = " ".join(f"--input {safe(port.name, 40)}=..." for port in inputs[:4])
        raise UsageError(
            f"{safe(str(path))} is one array, and the model has {len(inputs)} inputs",
            hint=f"use .npz, or name each: {names}",
        )
    return {inputs[0].name: fitted(array_of(path), inputs[0], path)}


def array_of(path: Path) -> np.ndarray:
    """The array in ``path`` (.npy, or .pb of a TensorProto), mapped where the format allows."""
    regular_file(path)
    if path.suffix.lower() == ".pb":
        return _protobuf(path)
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise BadInput(f"{safe(str(path))} is not a plain array", cause=safe(str(error))) from None


def read_npz(path: Path, inputs: Sequence[Port]) -> Feeds:
    """The arrays of a .npz file, by the names of the inputs."""
    shown = safe(str(path))
    try:
        with zipfile.ZipFile(regular_file(path)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > min(_LARGEST_FILE, path.stat().st_size * _LARGEST_EXPANSION):
            raise BadInput(f"{shown} would expand to {size:,} bytes, which is refused")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(
            f"{shown} is not an archive of plain arrays", cause=safe(str(error))
        ) from None
    return matched(found, inputs, path)


def read_test_set(folder: Path, inputs: Sequence[Port]) -> Feeds:
    """The inputs of a ``test_data_set_*`` folder: ``input_0.pb`` and so on, in order."""
    files = [folder / f"input_{index}.pb" for index in range(len(inputs))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise BadInput(
            f"{safe(str(folder))} has no {missing[0]}",
            cause=f"the model has {len(inputs)} inputs",
        )
    return {
        port.name: fitted(_protobuf(file), port, file)
        for port, file in zip(inputs, files, strict=True)
    }


def expected_outputs(folder: Path) -> list[np.ndarray]:
    """The values of ``output_0.pb`` and so on, as far as there are any."""
    found: list[np.ndarray] = []
    while (file := folder / f"output_{len(found)}.pb").is_file():
        found.append(_protobuf(file))
    return found


def matched(found: dict[str, np.ndarray], inputs: Sequence[Port], path: Path) -> Feeds:
    """``found`` by the names of the inputs; a single array fits a single input of any name.

    Raises:
        BadInput: an input got nothing, or values that do not fit.
    """
    if len(inputs) == 1 and len(found) == 1:
        return {inputs[0].name: fitted(next(iter(found.values())), inputs[0], path)}
    missing = [port.name for port in inputs if port.name not in found]
    if missing:
        held = ", ".join(safe(name, 40) for name in found)
        raise BadInput(
            f"{safe(str(path))} holds nothing for input '{safe(missing[0])}'",
            hint=f"it has: {held}",
        )
    return {port.name: fitted(found[port.name], port, path) for port in inputs}


def fitted(array: np.ndarray, port: Port, path: Path) -> np.ndarray:
    """``array`` in the input's type, with a note, if no value changes by more than float rounding.

    Raises:
        BadInput: values would change.
    """
    if port.dtype == "str":
        return array.astype(object)
    try:
        kind = np.dtype(port.dtype)
        if array.dtype == kind:
            return np.ascontiguousarray(array)
        with np.errstate(all="ignore"):  # what is lost is looked at below
            converted = array.astype(kind)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"{safe(str(path))}: input '{safe(port.name)}' is {port.dtype}, not {array.dtype}",
            cause=safe(str(error)),
        ) from None
    rounding = array.dtype.kind == "f" and kind.kind == "f"
    overflows = rounding and bool(np.isinf(converted).sum() > np.isinf(array).sum())
    if overflows or not (rounding or np.array_equal(converted, array)):
        raise BadInput(
            f"{safe(str(path))}: input '{safe(port.name)}' is {port.dtype},"
            f" and its {array.dtype} values do not fit",
        )
    progress.note(f"input '{safe(port.name)}': {array.dtype} values taken as {port.dtype}")
    return converted


def _protobuf(path: Path) -> np.ndarray:
    proto = onnx.TensorProto()
    try:
        proto.ParseFromString(regular_file(path).read_bytes())
        if proto.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError("its values lie in another file")
        return np.asarray(onnx.numpy_helper.to_array(proto))
    except Exception as error:  # protobuf's and numpy's own kinds share no base
        raise BadInput(
            f"{safe(str(path))} is not a tensor of a test data set", cause=safe(str(error), 200)
        ) from None
