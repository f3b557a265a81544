"""Tokenizer and configuration files, copied beside a result."""

import shutil
from pathlib import Path

from modelkit.errors import CannotWrite
from modelkit.model.files import regular_file
from modelkit.safe import safe

NAMES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
    "tokenizer.model", "config.json", "sentence_bert_config.json", "preprocessor_config.json",
    "processor_config.json", "generation_config.json", "chat_template.jinja", "normalizer.json",
    "source.spm", "target.spm",
)  # fmt: skip


def found_in(*folders: Path) -> tuple[Path, ...]:
    """The companion files of a model; where two folders have the same name, the first counts."""
    found: dict[str, Path] = {}
    for folder in folders:
        for name in NAMES:
            if (folder / name).is_file():
                found.setdefault(name, folder / name)
    return tuple(found.values())


def copy_beside(
    files: tuple[Path, ...], folder: Path, *, force: bool
) -> tuple[list[str], list[str]]:
    """Copy ``files`` into ``folder``; a different file of that name is replaced only by force.

    Returns:
        the names copied, and a note for each file that was left.

    Raises:
        CannotWrite: the disk refuses; the model itself is in place.
    """
    copied, notes = [], []
    for file in files:
        place = folder / file.name
        if place.exists() and place.samefile(file):
            continue
        try:
            if place.is_file() and place.read_bytes() == regular_file(file).read_bytes():
                continue
            if place.exists() and not force:
                notes.append(
                    f"another {safe(file.name)} lies there and was left (--force replaces)"
                )
                continue
            _copy(file, place)
        except OSError as error:
            raise CannotWrite(
                f"{safe(file.name)} could not be copied to {safe(str(folder))}",
                cause=error.strerror or str(error),
                hint="the model is written; copy its tokenizer files by hand",
            ) from None
        copied.append(file.name)
    return copied, notes


def _copy(file: Path, place: Path) -> None:
    temporary = place.with_name(f".{place.name}.tmp")
    try:
        shutil.copyfile(file, temporary)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
