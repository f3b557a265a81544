"""Which modules a pickle would import, read from its opcodes without running it."""

import bz2
import lzma
import pickletools
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Protocol

_LARGEST_LOOK = 1 << 20

# What joblib wraps a pickle in, by first bytes.
_GZIP, _BZIP2, _XZ, _LZMA = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x5d\x00\x00"
_ZLIB = (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")

# Top-level package to the format of a pickle that names it; the first found wins.
_OWNERS = (
    ("lightgbm", "lightgbm-pickle"),
    ("xgboost", "xgboost-pickle"),
    ("catboost", "catboost-pickle"),
    ("sklearn", "sklearn-pickle"),
)


class _Inflater(Protocol):
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


def is_pickle(head: bytes) -> bool:
    """Whether bytes start as a pickle of protocol 2 or newer (older ones have no mark)."""
    return head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def unwrapped(data: bytes) -> bytes:
    """The first megabyte of what ``data`` compresses; b"" when it is not compressed or broken."""
    inflater: _Inflater
    if data.startswith(_GZIP) or data.startswith(_ZLIB):
        inflater = zlib.decompressobj(wbits=47)
    elif data.startswith(_BZIP2):
        inflater = bz2.BZ2Decompressor()
    elif data.startswith((_XZ, _LZMA)):
        inflater = lzma.LZMADecompressor()
    else:
        return b""
    try:
        return inflater.decompress(data, _LARGEST_LOOK)
    except (zlib.error, OSError, EOFError, lzma.LZMAError):
        return b""


def owner(data: bytes) -> tuple[str, list[str]]:
    """(format, packages named) of the pickle that ``data`` begins with."""
    packages = list(dict.fromkeys(module.split(".")[0] for module in modules(data)))
    found = next((name for package, name in _OWNERS if package in packages), "pickle")
    return found, packages


def modules(data: bytes) -> list[str]:
    """Modules that loading would import, in order, as far as the bytes can be read."""
    return list(dict.fromkeys(module for module, _ in _globals(data[:_LARGEST_LOOK])))


def global_names(data: bytes) -> list[str]:
    """Full names that loading would look up, over all pickles that follow one another."""
    return list(dict.fromkeys(f"{module}.{name}" for module, name in _globals(data)))


def _globals(data: bytes) -> Iterator[tuple[str, str]]:
    stream = BytesIO(data)
    strings: list[str] = []
    try:
        while stream.tell() < len(data):
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name in ("GLOBAL", "INST"):
                    module, _, name = str(argument).partition(" ")
                    yield module, name
                elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                    yield strings[-2], strings[-1]
                elif isinstance(argument, str):
                    strings = [*strings[-3:], argument]
    except (ValueError, IndexError, OverflowError, MemoryError):
        # Arrays that lie between or after pickles, or a cut: what came before stands.
        return
