"""One model opened for running, on the provider that was asked for and no other."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from modelkit.errors import (
    BadInput,
    CheckFailed,
    ModelkitError,
    OutOfMemory,
    ProviderMissing,
    Unsupported,
    UsageError,
)
from modelkit.runtime.providers import CPU, Provider
from modelkit.safe import safe

try:
    import onnxruntime as ort
except ModuleNotFoundError as missing:
    if missing.name != "onnxruntime":
        raise
    raise Unsupported(
        "running a model needs ONNX Runtime, which comes by extra",
        hint='pip install "modelkit[cpu]", or "modelkit[gpu]" for NVIDIA cards',
        code="missing-extra",
    ) from None

Feeds = dict[str, np.ndarray]
Run = Callable[[Feeds], dict[str, np.ndarray]]

_DTYPES = {
    "float": "float32",
    "double": "float64",
    "string": "str",
}
_FATAL_ONLY = 4
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")


@dataclass(frozen=True)
class Port:
    """An input or output as the runtime sees it; a dynamic axis is its name or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class Session:
    """A model that can be run; close it, or use it in a ``with`` block."""

    def __init__(self, raw: "ort.InferenceSession", path: Path) -> None:
        self.raw = raw
        self.path = path
        self.inputs = tuple(_port(value) for value in raw.get_inputs())
        self.outputs = tuple(_port(value) for value in raw.get_outputs())
        defaults = {value.name for value in raw.get_overridable_initializers()}
        self._known = {port.name: port for port in self.inputs}
        self._optional = defaults

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the model's memory."""
        self.raw = None

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """All outputs by name.

        Raises:
            UsageError: a missing or unknown input, or one of another type or rank.
            CheckFailed: an operator failed on these inputs; the text names it.
        """
        self.check(feeds)
        names = [port.name for port in self.outputs]
        try:
            values = self.raw.run(names, feeds)
        except Exception as error:
            raise _refused(error, self.path, "did not run") from None
        return dict(zip(names, values, strict=True))

    def check(self, feeds: Feeds) -> None:
        """Refuse feeds that do not fit the inputs, before native code sees them."""
        for name in feeds:
            if name not in self._known and name not in self._optional:
                near = difflib.get_close_matches(name, self._known, n=1)
                known = ", ".join(safe(key, 60) for key in list(self._known)[:20])
                hint = f"did you mean '{safe(near[0])}'?" if near else f"it has: {known}"
                raise UsageError(f"the model has no input '{safe(name)}'", hint=hint)
        for port in self.inputs:
            if port.name not in feeds:
                raise UsageError(
                    f"input '{safe(port.name)}' got no value",
                    hint=f"it is {port.dtype}{_shown(port.shape)}",
                )
            _check_value(port, feeds[port.name])


def open_session(
    path: Path,
    *,
    providers: Sequence[Provider] = (CPU,),
    optimize: bool = True,
    threads: int = 1,
    allow_fallback: bool = False,
    custom_ops: Sequence[Path] = (),
    profile: Path | None = None,
) -> Session:
    """Open ``path`` on the first of ``providers``; the CPU carries what the others cannot.

    ``optimize`` off means ONNX Runtime changes nothing in the graph; ``threads`` counts those
    inside an operator; ``profile`` is the prefix of a trace file.

    Raises:
        ProviderMissing: a provider was asked for and is not there or opened nothing.
        BadInput, Unsupported: ONNX Runtime refuses the model.
    """
    wanted = [provider.ort for provider in providers]
    absent = [p.name for p in providers if p.ort not in ort.get_available_providers()]
    if absent and not allow_fallback:
        built = ", ".join(ort.get_available_providers())
        raise ProviderMissing(
            f"provider '{absent[0]}' is not in the installed ONNX Runtime",
            cause=f"it has: {built}",
            hint="install the extra that has it, as modelkit[gpu], or add --allow-fallback",
        )
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    try:
        for library in custom_ops:
            options.register_custom_ops_library(str(library))
        usable = [name for name in wanted if name in ort.get_available_providers()]
        raw = ort.InferenceSession(
            str(path), options, providers=list(dict.fromkeys([*usable, CPU.ort]))
        )
    except Exception as error:
        raise _refused(error, path, "could not be opened") from None
    fallen = [name for name in wanted if name not in raw.get_providers()]
    if fallen and not allow_fallback:
        raise ProviderMissing(
            f"{fallen[0]} fell back to {raw.get_providers()[0]}",
            cause="ONNX Runtime could not load it; `modelkit doctor` shows why",
            hint="add --allow-fallback to run on the CPU instead",
        )
    return Session(raw, path)


def version() -> str:
    """The version of the installed ONNX Runtime."""
    return str(ort.__version__)


def available() -> list[str]:
    """ONNX Runtime's names of the providers in the installed build."""
    return list(ort.get_available_providers())


def _port(value: Any) -> Port:
    kind = str(value.type)
    inner = kind[kind.find("(") + 1 : kind.rfind(")")] if kind.startswith("tensor(") else kind
    shape = value.shape if isinstance(value.shape, list) else []
    return Port(value.name, _DTYPES.get(inner, inner), tuple(shape))


def _check_value(port: Port, value: np.ndarray) -> None:
    name, kind = safe(port.name), _kind(value)
    if not isinstance(value, np.ndarray):
        return  # sequences and maps are checked by the runtime
    if kind != port.dtype:
        raise UsageError(
            f"input '{name}' is {port.dtype}, not {kind}",
            hint=f"save it as {port.dtype}",
        )
    fits = len(value.shape) == len(port.shape) and all(
        not isinstance(dim, int) or dim == length
        for dim, length in zip(port.shape, value.shape, strict=True)
    )
    if port.shape and not fits:
        raise UsageError(
            f"input '{name}' has shape {list(value.shape)}, the model wants {_shown(port.shape)}"
        )


def _kind(value: np.ndarray) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return "str" if value.dtype.kind in "OUS" else value.dtype.name


def _shown(shape: tuple[int | str | None, ...]) -> str:
    return "[" + ", ".join("?" if dim is None else safe(str(dim), 40) for dim in shape) + "]"


def _refused(error: Exception, path: Path, what: str) -> ModelkitError:
    """ONNX Runtime's exception as one of ours; its own text is the cause."""
    kind, text = type(error).__name__, str(error)
    message = f"{safe(str(path))} {what} in ONNX Runtime {version()}"
    # "[ONNXRuntimeError] : 1 : FAIL : what happened"
    cause = safe(_PREFIX.sub("", text).replace("\n", " ").strip(), 400)
    if "bad_alloc" in text or "Failed to allocate" in text or isinstance(error, MemoryError):
        return OutOfMemory(message, cause=cause)
    newer = "is under development" in text or "Unsupported model IR version" in text
    unknown = "is not a registered function/op" in text or "No Op registered" in text
    if kind == "NotImplemented" or newer or unknown:
        return Unsupported(message, cause=cause, hint="a newer runtime or an older --opset may do")
    if what == "did not run":
        return CheckFailed(message, cause=cause)
    return BadInput(message, cause=cause, hint="`modelkit inspect` shows what the file holds")
