"""A hash of a source, so that a result can say what it was made from."""

import hashlib
from pathlib import Path

from modelkit.convert.shards import is_index, shards_of

_CHUNK = 1 << 22


def source_digest(source: str, factory: str | None = None) -> str:
    """SHA-256 over names and bytes of a file or of every file of a folder, in sorted order.

    The files that an index of shards names count with it.

    A "module:factory" is hashed by its name: its code can change without a trace here, so such
    results are made anew whenever asked.
    """
    digest = hashlib.sha256((factory or "").encode())
    path = Path(source)
    if not path.exists():
        return digest.hexdigest()
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    if path.is_file() and is_index(path):
        files += shards_of(path)
    for file in files:
        digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
