"""The inputs of a model as the user types them: ``NAME:DIM,DIM,...[:TYPE]``.

A DIM is a length, the name of a dynamic axis, or NAME=LENGTH, a dynamic axis with the length to
export with.  A number in front is the length of the batch, which is dynamic: --input-shape
x:2,3,32,32 is x:batch=2,3,32,32.
"""

import re
from dataclasses import dataclass

from modelkit.errors import UsageError
from modelkit.model import InputSpec
from modelkit.safe import safe

DTYPES = (
    "float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip
_NAMED = re.compile(r"([A-Za-z_]\w*)(?:=(\d+))?\Z")
_LARGEST_LENGTH = 1 << 31
# A batch of one would be taken as a fixed length by torch's exporter.
_SMALLEST_BATCH = 2


@dataclass(frozen=True)
class Asked:
    """One input as asked for; ``lengths`` are those of its axes in the example, 0 where free."""

    spec: InputSpec
    lengths: tuple[int, ...]


def parse(texts: tuple[str, ...], *, static: bool = False) -> tuple[Asked, ...]:
    """Each ``--input-shape``, in order; with ``static`` every axis is fixed at its length.

    Raises:
        UsageError: a text is not of the form, or names an input twice; a length is missing.
    """
    asked = tuple(_asked(text, static=static) for text in texts)
    names = [one.spec.name for one in asked]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--input-shape names '{safe(name)}' twice")
    return asked


def role(name: str, dtype: str, rank: int) -> str:
    """What an input of this name, type and rank most likely holds."""
    low = name.lower()
    if dtype.startswith("float"):
        return "pixels" if rank == 4 else "float"
    if "mask" in low:
        return "mask"
    if "token_type" in low or "segment" in low:
        return "token_types"
    if "position" in low:
        return "positions"
    return "other" if dtype == "bool" else "ids"


def _asked(text: str, *, static: bool) -> Asked:
    name, _, rest = text.partition(":")
    dims, _, dtype = rest.partition(":")
    parts = [part.strip() for part in dims.split(",")]
    if not name or not all(parts):
        raise _malformed(text)
    kind = dtype.strip() or "float32"
    if kind not in DTYPES:
        raise UsageError(
            f"--input-shape {safe(text)}: no type is called '{safe(kind)}'",
            hint=f"types: {', '.join(DTYPES)}",
        )
    shape: list[int | str] = []
    lengths: list[int] = []
    for axis, part in enumerate(parts):
        dim, length = _dim(text, name, axis, part, alone=len(parts) == 1)
        if static:
            dim = length = _length(text, part)
        shape.append(dim)
        lengths.append(length)
    meaning = role(name, kind, len(parts))
    return Asked(InputSpec(name, kind, tuple(shape), meaning), tuple(lengths))


def _length(text: str, part: str) -> int:
    """The length that a DIM gives."""
    number = part.rpartition("=")[2]
    if not number.isdecimal() or not 0 < int(number) < _LARGEST_LENGTH:
        raise UsageError(
            f"--static-shapes needs a length for '{safe(part)}' in --input-shape {safe(text)}",
            hint=f"write it as {safe(part.partition('=')[0] or 'axis')}=LENGTH or as a number",
        )
    return int(number)


def _dim(text: str, name: str, axis: int, part: str, *, alone: bool) -> tuple[int | str, int]:
    if part.isdecimal() and 0 < int(part) < _LARGEST_LENGTH:
        length = int(part)
        # The only axis of a vector is its content.
        return (
            ("batch", max(length, _SMALLEST_BATCH))
            if axis == 0 and not alone
            else (
                length,
                length,
            )
        )
    if part in ("?", "-1"):
        return ("batch" if axis == 0 else f"{name}_{axis}"), 0
    named = _NAMED.match(part)
    if named is None:
        raise _malformed(text)
    length = int(named[2] or 0)
    return named[1], max(length, _SMALLEST_BATCH) if length and axis == 0 else length


def _malformed(text: str) -> UsageError:
    return UsageError(
        f"--input-shape {safe(text)} is not NAME:DIM,DIM[:TYPE]",
        hint="write it as --input-shape x:batch,3,224,224",
    )
