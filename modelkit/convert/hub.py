"""``hf:ORG/NAME@REV``: a folder of the Hugging Face Hub, fetched into the library's own cache.

This is the only place that reaches the network, and only for an address that was typed.  Of a
repository only weights, configuration and tokenizer are fetched, never its code.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

# Nobody is told what is fetched beside the place that it is fetched from.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import huggingface_hub
from huggingface_hub import constants, errors
from huggingface_hub.utils import disable_progress_bars

from modelkit import progress
from modelkit.errors import BadInput, ModelkitError, UsageError
from modelkit.safe import safe

PREFIX = "hf:"
_ADDRESS = re.compile(r"hf:([\w.-]+/[\w.-]+)@([\w./-]+)\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_TEXTS = ("*.json", "*.txt", "*.model", "*.jinja")
# The same weights in several forms: the first that a repository has is enough.
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")
# Folders that hold the model once more, for another runtime.
_OTHERS = ("onnx/", "openvino/", "coreml/", "original/", "flax/", "tf/", "gguf/", ".")
# State of a training run, and the same weights in the form of their first author.
_BESIDE = ("optimizer", "scheduler", "scaler", "rng_state", "training_args", "consolidated")
# What was wished before the readers of folders forbid all downloads.
_OFFLINE = constants.HF_HUB_OFFLINE


class Fetched(NamedTuple):
    """A folder on this disk, and the commit that it is of."""

    folder: Path
    commit: str
    notes: tuple[str, ...]


def parse_address(text: str) -> tuple[str, str]:
    """Repository and revision of "hf:ORG/NAME@REV".

    Raises:
        UsageError: not of the form, or without a revision.
    """
    found = _ADDRESS.match(text)
    if found is not None and ".." not in text:
        return found[1], found[2]
    name = text.removeprefix(PREFIX).partition("@")[0]
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and text.rstrip("@") == PREFIX + name:
        raise UsageError(
            f"{safe(text)} names no revision, and what it is would change from day to day",
            hint=f"add a commit, tag or branch, as hf:{safe(name)}@main; the commits are on"
            f" {constants.ENDPOINT}/{safe(name)}/commits/main",
            code="unpinned",
        )
    raise UsageError(f"{safe(text)} is not hf:ORG/NAME@REV", hint="as hf:google/vit-base@main")


def fetch(text: str) -> Fetched:
    """Fetch what "hf:ORG/NAME@REV" names; files that are in the cache already are not fetched.

    Raises:
        UsageError: not of the form, or without a revision.
        BadInput: there is no such repository or revision, it is not open to this user, or the
            network is not there and the cache has not all of it.
    """
    name, revision = parse_address(text)
    progress.step(f"fetching {safe(text)}")
    disable_progress_bars()
    with _reachable(), _explaining(name, revision):
        try:
            commit, held = _listed(name, revision)
        except errors.HfHubHTTPError:
            raise
        except Exception as unreached:  # of the library's library for the network
            return _cached(name, revision, unreached)
        files = wanted(held)
        if not files:
            raise BadInput(
                f"{safe(name)} holds no model that is known",
                cause=f"it has: {', '.join(safe(each, 40) for each in held[:8]) or 'nothing'}",
                code="unknown-format",
            )
        folder = huggingface_hub.snapshot_download(name, revision=commit, allow_patterns=files)
    return Fetched(Path(folder), commit, _pinned(name, revision, commit))


def wanted(files: Iterable[str]) -> list[str]:
    """The files of a repository that a conversion reads: texts, and one form of the weights."""
    own = [
        file
        for file in files
        if not file.startswith(_OTHERS) and not file.rpartition("/")[2].startswith(_BESIDE)
    ]
    texts = [file for file in own if any(fnmatch(file, pattern) for pattern in _TEXTS)]
    for pattern in _WEIGHTS:
        weights = [file for file in own if fnmatch(file, pattern)]
        if weights:
            return sorted({*texts, *weights})
    return []


def _listed(name: str, revision: str) -> tuple[str, list[str]]:
    """The commit of a revision, and its files."""
    found = huggingface_hub.HfApi(library_name="modelkit").model_info(name, revision=revision)
    return str(found.sha), [file.rfilename for file in found.siblings or ()]


def _cached(name: str, revision: str, unreached: Exception) -> Fetched:
    """What was fetched before.  Raises ``unreached`` when that is nothing."""
    folder = None
    for pattern in _WEIGHTS:
        try:
            found = huggingface_hub.snapshot_download(
                name,
                revision=revision,
                local_files_only=True,
                allow_patterns=[*_TEXTS, pattern],
                ignore_patterns=[f"{start}*" for start in (*_OTHERS, *_BESIDE)],
            )
        except errors.LocalEntryNotFoundError:
            continue
        if any(Path(found).rglob(pattern)):
            folder = Path(found)
            break
    if folder is None:
        raise unreached
    note = f"the Hub was not reached: {safe(name)} is what the cache has of {safe(revision)}"
    return Fetched(folder, folder.name, (note, *_pinned(name, revision, folder.name)))


def _pinned(name: str, revision: str, commit: str) -> tuple[str, ...]:
    if _COMMIT.match(revision) or not _COMMIT.match(commit):
        return ()
    return (f"{safe(revision)} is {commit[:12]} now; hf:{safe(name)}@{commit} stays what it is",)


@contextmanager
def _reachable() -> Iterator[None]:
    """Let the library reach the network inside, where the user does not forbid it."""
    constants.HF_HUB_OFFLINE = _OFFLINE
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = True


@contextmanager
def _explaining(name: str, revision: str) -> Iterator[None]:
    """The library's errors as ours."""
    try:
        yield
    except ModelkitError:
        raise
    except errors.GatedRepoError:
        raise BadInput(
            f"{safe(name)} is open only to those who accept its terms",
            hint=f"accept them on {constants.ENDPOINT}/{safe(name)}, then run `hf auth login`",
            code="not-open",
        ) from None
    except errors.RevisionNotFoundError:
        raise BadInput(
            f"{safe(name)} has no revision '{safe(revision)}'",
            hint=f"its commits are on {constants.ENDPOINT}/{safe(name)}/commits/main",
            code="no-such-revision",
        ) from None
    except errors.RepositoryNotFoundError:
        raise BadInput(
            f"there is no model {safe(name)} that this user may read",
            hint="check the spelling; for a private one run `hf auth login` first",
            code="no-such-file",
        ) from None
    except Exception as error:  # of the library's library for the network
        raise BadInput(
            f"{safe(name)} could not be fetched",
            cause=safe(" ".join(f"{type(error).__name__}: {error}".split()), 300),
            hint="is the network there? a folder that was fetched elsewhere can be named instead",
            code="not-fetched",
        ) from None
