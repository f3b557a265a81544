"""Read torch files without running the code that a pickle may hold.

torch's restricted unpickler is the guard: it makes tensors and containers, and of modules only
the layers of torch.nn, which are named here.  Everything else is read only when it is trusted.
"""

import importlib
import inspect
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from modelkit.convert.pickles import global_names
from modelkit.convert.shards import index_of, shards_of
from modelkit.errors import BadInput
from modelkit.runtime.user_code import working_folder_first
from modelkit.safe import safe

_LAYERS = "torch.nn.modules."
# Activations that a transformer layer of torch.nn keeps as functions.
_FUNCTIONS = {
    "torch.nn.functional.relu": torch.nn.functional.relu,
    "torch._C._nn.gelu": torch.nn.functional.gelu,
}
_REFUSED = re.compile(r"GLOBAL '?([\w.]+)")
_BROKEN = re.compile(r"WeightsUnpickler error: ([^\n]+)")
_LEGACY_HEAD = 1 << 24


def read_checkpoint(path: Path, *, trust: bool) -> Any:
    """What ``torch.save`` wrote, on the CPU.

    Raises:
        BadInput: broken, or it would run code of its own and is not trusted.
    """
    if trust:
        with working_folder_first():
            return unpacked(path, lambda: torch.load(str(path), "cpu", weights_only=False))
    with torch.serialization.safe_globals(_layers(path)):
        return unpacked(path, lambda: torch.load(str(path), "cpu", weights_only=True))


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file.

    Raises:
        BadInput: broken.
    """
    found: dict[str, torch.Tensor] = unpacked(path, lambda: load_file(str(path)))
    return found


def read_shards(path: Path, *, trust: bool) -> dict[str, torch.Tensor]:
    """The weights of an index of shards, or of the folder that holds one.

    Raises:
        BadInput: a shard is missing or broken, needs trust, or lacks a weight that it should have.
    """
    found: dict[str, torch.Tensor] = {}
    for file, names in shards_of(index_of(path)).items():
        if file.suffix == ".safetensors":
            held = read_safetensors(file)
        else:
            held = read_checkpoint(file, trust=trust)
        lacking = [name for name in names if not isinstance(held, dict) or name not in held]
        if lacking:
            raise BadInput(
                f"{safe(str(file))} has no weights for {safe(', '.join(lacking[:4]), 200)}",
                cause=f"{len(lacking)} weights of {len(names)} that the index says are in it",
                hint="do index and shards belong together?",
                code="weights-missing",
            )
        found |= {name: held[name] for name in names}
    return found


def read_script(path: Path) -> torch.jit.ScriptModule:
    """A TorchScript module, on the CPU; its archive holds no Python objects.

    Raises:
        BadInput: broken.
    """
    return unpacked(path, lambda: torch.jit.load(str(path), map_location="cpu"))


def read_program(path: Path, *, trust: bool) -> Any:
    """An exported program (.pt2).

    Loading one falls back to plain pickle and evaluates the expressions in it, so it is never
    done unasked.

    Raises:
        BadInput: not trusted, or broken.
    """
    if not trust:
        raise BadInput(
            f"{safe(str(path))} can run code while it is loaded",
            cause="torch.export.load unpickles objects and evaluates expressions of the file",
            hint="if you trust it, add --trust-source; else give safetensors and --model",
            code="untrusted",
        )
    return unpacked(path, lambda: torch.export.load(str(path)))


def unpacked(path: Path, load: Callable[[], Any]) -> Any:
    """What ``load`` gives; whatever it raises becomes a BadInput that names ``path``."""
    try:
        return load()
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from None
    except ModuleNotFoundError as error:
        raise BadInput(
            f"{safe(str(path))} needs the Python module '{safe(str(error.name))}' of its author",
            hint="run from the folder that holds that module, or install it",
            code="code-missing",
        ) from None
    except Exception as error:  # torch and safetensors raise any type on a broken file
        text = str(error).strip() or repr(error)
        raise BadInput(
            f"{safe(str(path))} could not be loaded by torch",
            cause=safe(" ".join(text.splitlines()[0].split()), 300),
            hint="is the file whole, and of the kind its name says?",
            code="unreadable",
        ) from None


def _refused(path: Path, text: str) -> BadInput:
    named = _REFUSED.search(text)
    if named is None:
        said = _BROKEN.search(text)
        return BadInput(
            f"{safe(str(path))} is not loaded without trust: it holds more than tensors and layers",
            cause=safe(said[1] if said else " ".join(text.split()), 300),
            hint="if you trust it, add --trust-source; else give its state_dict and --model",
            code="untrusted",
        )
    return BadInput(
        f"{safe(str(path))} would run {safe(named[1], 80)} while it is loaded",
        cause="a pickle can run anything; only tensors and torch.nn layers are loaded unasked",
        hint="if you trust it, add --trust-source; else give its state_dict and --model",
        code="untrusted",
    )


def _layers(path: Path) -> list[Any]:
    """The harmless classes and functions that the file names, for torch's restricted unpickler."""
    allowed: list[Any] = []
    for name in global_names(_pickle_of(path)):
        if name in _FUNCTIONS:
            allowed.append((_FUNCTIONS[name], name))
        elif name.startswith(_LAYERS):
            layer = _layer(name)
            allowed += [] if layer is None else [layer]
    return allowed


def _layer(name: str) -> type[torch.nn.Module] | None:
    """The torch.nn class really defined under ``name``; nothing that a module only imports."""
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    if not inspect.isclass(found) or not issubclass(found, torch.nn.Module):
        return None
    return found if f"{found.__module__}.{found.__qualname__}" == name else None


def _pickle_of(path: Path) -> bytes:
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return file.read(_LEGACY_HEAD)
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith("/data.pkl"):
                    with archive.open(entry) as stream:
                        return stream.read(_LEGACY_HEAD)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
        return b""  # torch itself says what is broken
    return b""
