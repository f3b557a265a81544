"""Checkpoints in several files: an index says which weight lies in which of them.

Written by transformers, accelerate and torchtitan as ``model.safetensors.index.json`` or
``pytorch_model.bin.index.json``.
"""

from pathlib import Path

from modelkit.convert.detect import read_json
from modelkit.errors import BadInput
from modelkit.model.files import regular_file
from modelkit.safe import safe

_ENDING = ".index.json"
# What is not pickled comes first.
_ORDER = ("*.safetensors.index.json", "*.index.json")


def is_index(path: Path) -> bool:
    """Whether a file is an index by its name."""
    return path.name.endswith(_ENDING)


def index_of(path: Path) -> Path:
    """The index that ``path`` is, or that lies in the folder ``path``.

    Raises:
        BadInput: the folder has none, or two of one kind.
    """
    if not path.is_dir():
        return path
    for pattern in _ORDER:
        found = sorted(path.glob(pattern))
        if len(found) > 1:
            raise BadInput(
                f"{safe(str(path))} holds {len(found)} checkpoints",
                cause=", ".join(safe(file.name, 80) for file in found[:6]),
                hint="name one of these files",
            )
        if found:
            return found[0]
    raise BadInput(f"{safe(str(path))} holds no *{_ENDING}")


def shards_of(index: Path) -> dict[Path, list[str]]:
    """Each file of the checkpoint, in order, and the weights that the index says are in it.

    Raises:
        BadInput: no index, a file of it is missing, or lies outside its folder.
    """
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise BadInput(f"{safe(str(index))} has no weight_map")
    found: dict[Path, list[str]] = {}
    for weight, name in places.items():
        file = index.parent / str(name)
        if not isinstance(name, str) or Path(name).name != name:
            raise BadInput(
                f"{safe(str(index))} names a place outside its folder",
                cause=f"'{safe(str(weight), 80)}' is in {safe(str(name), 80)}",
                code="leaves-folder",
            )
        found.setdefault(file, []).append(weight)
    for file in found:
        if not file.is_file():
            raise BadInput(
                f"{safe(str(index))} needs {safe(file.name)}, which is not beside it",
                cause=f"the checkpoint is in {len(found)} files",
                hint="put all of them in one folder",
                code="shard-missing",
            )
        regular_file(file)
    return dict(sorted(found.items()))
