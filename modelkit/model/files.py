"""The one policy for which files modelkit opens as a model or as its weights.

Applied before any library sees a path, because onnx and ONNX Runtime each accept what the other
refuses (links, control characters, paths that leave the folder).
"""

import mmap
import stat
from pathlib import Path

from modelkit import progress
from modelkit.errors import BadInput
from modelkit.safe import safe

_MAGIC = (
    (b"PK\x03\x04", "a zip archive (a torch or Keras file?)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras?)"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"TFL3", "a TensorFlow Lite file"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


def regular_file(path: Path) -> Path:
    """``path`` if it names a regular file with content, links followed.

    Raises:
        BadInput: missing, a folder, a device or pipe, unreadable or empty.
    """
    shown = safe(str(path))
    try:
        status = path.stat()
    except FileNotFoundError:
        raise BadInput(f"no such file: {shown}", code="no-such-file") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {shown}", cause=str(error), code="unreadable") from None
    if stat.S_ISDIR(status.st_mode):
        hint = f"name the file in it, or run `modelkit convert {shown} -o model.onnx`"
        raise BadInput(f"{shown} is a folder, not a model file", hint=hint, code="is-a-folder")
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"{shown} is a device or pipe, not a regular file", code="not-a-file")
    if status.st_size == 0:
        raise BadInput(f"{shown} is empty", hint="was the download cut off?", code="empty")
    return path


def mapped(path: Path) -> memoryview:
    """The bytes of a regular file as a read-only mapping; nothing is read yet."""
    try:
        with regular_file(path).open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise BadInput(
            f"cannot read {safe(str(path))}", cause=str(error), code="unreadable"
        ) from None


def data_file(model: Path, location: str, tensor: str) -> Path:
    """The weights file ``location`` of a tensor of ``model``, if the policy allows it.

    Allowed are regular files inside the folder the model is named in, also when model and data
    are links into a blob store (the Hugging Face cache), or inside the folder it really lies in.

    Raises:
        BadInput: an absolute or climbing path, control characters, a link that leaves both
            folders, or no regular file.
    """
    name = f"weights of '{safe(tensor)}' in {safe(str(model))}"
    parts = Path(location).parts
    if not location or any(ord(c) < 0x20 or ord(c) == 0x7F for c in location) or "\\" in location:
        raise BadInput(f"the {name} lie in an impossible file {safe(repr(location))}")
    if Path(location).is_absolute() or ".." in parts or ":" in parts[0]:
        raise BadInput(
            f"the {name} point outside the model's folder: {safe(location)}",
            cause="a model file may only read files beside it",
            code="external-data-refused",
        )
    path = model.parent / location
    real = path.resolve()
    # The folder named by the user, and the one the link of the model leads to.
    homes = {model.parent.resolve(), model.resolve().parent}
    blobs = model.is_symlink() and real.parent == model.resolve().parent
    if not blobs and not any(real.is_relative_to(home) for home in homes):
        raise BadInput(
            f"the {name} are a link that leaves the model's folder: {safe(location)}",
            code="external-data-refused",
        )
    if not path.exists():
        raise BadInput(
            f"the {name} are missing: no file {safe(location)} beside the model",
            hint="copy the data file beside the .onnx file, with its name unchanged",
            code="external-data-missing",
        )
    if regular_file(real).stat().st_nlink > 1:
        progress.warn(f"{safe(location)} has several hard links; another name can change it")
    return real


def looks_like(head: bytes) -> str:
    """What a file that is no ONNX model seems to be, from its first bytes."""
    for magic, name in _MAGIC:
        if head.startswith(magic) or (magic == b"TFL3" and head[4:8] == magic):
            return name
    if head[8:9] == b"{" and head[:8].endswith(b"\0\0\0"):
        return "a safetensors file"
    if head.lstrip()[:1] in (b"{", b"["):
        return "a JSON file"
    if head.lstrip()[:1] == b"<":
        return "an HTML or XML page"
    return "something else"
