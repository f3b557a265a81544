"""One model opened for running, on the provider that was asked for and no other."""

import contextlib
import difflib
import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Self

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
from modelkit.model import load, sha256
from modelkit.runtime import tensorrt
from modelkit.runtime.ports import Port as Port
from modelkit.runtime.ports import check_value, port, shown
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

_FATAL_ONLY = 4
_NVIDIA = ("cuda", "tensorrt", "nvtensorrtrtx")
_FOREIGN = re.compile(r"(?:^|[\s:])(?!ai\.onnx:|ai\.onnx\.ml:|com\.microsoft)[\w.]+\.[\w.]+:\w+\(")
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")


# Libraries that every session of this process knows besides its own; a worker serves one verb.
_everywhere: list[Path] = []


def use_custom_ops(libraries: Sequence[str]) -> None:
    """Let every session opened from now on know the operators of these libraries.

    ``libraries`` are absolute paths; each is tried here, because loading it runs code.

    Raises:
        UsageError, Unsupported: it is not there, or is no library of operators.
    """
    for library in map(Path, libraries):
        if library not in _everywhere:
            _register(ort.SessionOptions(), library)
            _everywhere.append(library)


# ONNX Runtime takes these from the first session of a process, for its calling thread, once.
_FROM_THE_FIRST = ("session.set_denormal_as_zero",)
_settled: dict[str, str] = {}


def settle(entries: Mapping[str, str]) -> None:
    """Give what holds for the whole process to every session opened from now on, the first too."""
    _settled.update((key, entries[key]) for key in _FROM_THE_FIRST if key in entries)


def custom_ops_in_use() -> list[str]:
    """The libraries given to :func:`use_custom_ops`, to be passed on to a child process."""
    return [str(library) for library in _everywhere]


class Session:
    """A model that can be run; close it, or use it in a ``with`` block."""

    def __init__(self, raw: "ort.InferenceSession", path: Path) -> None:
        self.raw = raw
        self.path = path
        self.inputs = tuple(port(value) for value in raw.get_inputs())
        self.outputs = tuple(port(value) for value in raw.get_outputs())
        defaults = {value.name for value in raw.get_overridable_initializers()}
        self._known = {wanted.name: wanted for wanted in self.inputs}
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

    def run_bound(self, binding: "ort.IOBinding") -> None:
        """Run on what is bound.

        Raises:
            CheckFailed: an operator failed on these inputs; the text names it.
        """
        try:
            self.raw.run_with_iobinding(binding)
        except Exception as error:
            raise _refused(error, self.path, "did not run") from None

    def check(self, feeds: Feeds) -> None:
        """Refuse feeds that do not fit the inputs, before native code sees them."""
        for name in feeds:
            if name not in self._known and name not in self._optional:
                near = difflib.get_close_matches(name, self._known, n=1)
                known = ", ".join(safe(key, 60) for key in list(self._known)[:20])
                hint = f"did you mean '{safe(near[0])}'?" if near else f"it has: {known}"
                raise UsageError(f"the model has no input '{safe(name)}'", hint=hint)
        for wanted in self.inputs:
            if wanted.name not in feeds:
                raise UsageError(
                    f"input '{safe(wanted.name)}' got no value",
                    hint=f"it is {wanted.dtype}{shown(wanted.shape)}",
                )
            check_value(wanted, feeds[wanted.name])


GRAPH_LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
"""Our names of ONNX Runtime's own optimization levels."""


@dataclass(frozen=True)
class Setup:
    """How to open a model; one for each row of a table.

    Attributes:
        providers: in order of preference; the CPU is implicit last.
        provider_options: short name of a provider to its options, checked.
        threads, inter_op: threads inside and between operators.
        graph_level: ONNX Runtime's own optimization, a key of :data:`GRAPH_LEVELS`.
        session_options: entries of ONNX Runtime's session configuration.
        custom_ops: libraries of operators; absolute paths.
        allow_fallback: let a provider that is missing fall back to the CPU.
        min_offload: least share of the arithmetic that the first provider must do, 0..1.
        trt_shapes: smallest, usual and largest shape of inputs, for TensorRT.
        cache: where TensorRT's engines are kept; None: the user's cache folder.
    """

    providers: tuple[Provider, ...] = (CPU,)
    provider_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    threads: int = 1
    inter_op: int = 1
    graph_level: str = "all"
    session_options: Mapping[str, str] = field(default_factory=dict)
    custom_ops: tuple[Path, ...] = ()
    allow_fallback: bool = False
    min_offload: float = 0.9
    trt_shapes: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    cache: Path | None = None

    def open(self, path: Path, *, profile: Path | None = None) -> Session:
        """Open the model in ``path``; ``profile`` is the prefix of a trace file.

        Raises:
            ProviderMissing: a provider was asked for and is not there or opened nothing.
            BadInput, Unsupported: ONNX Runtime refuses the model, or an option.
        """
        self._check_there()
        options = self._options(profile)
        rows = [(p.ort, self._provider_options(p, path)) for p in self.providers if _is_there(p)]
        if all(name != CPU.ort for name, _ in rows):
            rows.append((CPU.ort, {}))
        if any(p.name in _NVIDIA and _is_there(p) for p in self.providers):
            _load_libraries()
        try:
            raw = ort.InferenceSession(
                str(path),
                options,
                providers=[name for name, _ in rows],
                provider_options=[dict(given) for _, given in rows],
            )
        except Exception as error:
            raise _refused(error, path, "could not be opened") from None
        self._check_kept(raw.get_providers())
        return Session(raw, path)

    def _check_there(self) -> None:
        absent = [provider.name for provider in self.providers if not _is_there(provider)]
        if absent and not self.allow_fallback:
            raise ProviderMissing(
                f"provider '{absent[0]}' is not in the installed ONNX Runtime",
                cause=f"it has: {', '.join(ort.get_available_providers())}",
                hint="install the extra that has it, as modelkit[gpu], or add --allow-fallback",
            )

    def _check_kept(self, opened: list[str]) -> None:
        fallen = [provider.ort for provider in self.providers if provider.ort not in opened]
        if fallen and not self.allow_fallback:
            raise ProviderMissing(
                f"{fallen[0]} fell back to {opened[0]}",
                cause="ONNX Runtime could not load it; `modelkit doctor` shows why",
                hint="add --allow-fallback to run on the CPU instead",
            )

    def _options(self, profile: Path | None) -> "ort.SessionOptions":
        options = ort.SessionOptions()
        options.log_severity_level = _FATAL_ONLY
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = self.inter_op
        if self.inter_op > 1:
            options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        if self.graph_level not in GRAPH_LEVELS:
            raise UsageError(
                f"unknown graph level '{safe(self.graph_level)}'",
                hint=f"one of: {', '.join(GRAPH_LEVELS)}",
            )
        level = getattr(ort.GraphOptimizationLevel, GRAPH_LEVELS[self.graph_level])
        options.graph_optimization_level = level
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        try:
            for key, value in {**_settled, **self.session_options}.items():
                options.add_session_config_entry(key, value)
        except Exception as error:
            raise UsageError(f"--session-option {safe(key)}: {safe(str(error), 200)}") from None
        for library in dict.fromkeys((*_everywhere, *self.custom_ops)):
            _register(options, library)
        return options

    def _provider_options(self, provider: Provider, path: Path) -> dict[str, str]:
        given = dict(self.provider_options.get(provider.name, {}))
        if provider.name != "tensorrt":
            return given
        model = load(path)
        ports = [
            (v.name or "", tuple(d if isinstance(d, int) else str(d.value) for d in v.shape or ()))
            for v in model.graph.inputs
            if v.const_value is None
        ]
        given |= tensorrt.profile_options(ports, self.trt_shapes, given)
        versions = {"onnxruntime": version(), "tensorrt": package_version("tensorrt")}
        root = self.cache or tensorrt.default_cache()
        return given | tensorrt.cache_options(root, sha256(path), given, versions)


_UNPACKED = {"session.disable_prepacking": "1"}
"""Packing copies the weights, which pays only where a model runs often."""


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
    """Open the model in ``path``, as :class:`Setup` does; without ``optimize`` as it is written.

    As it is written it is only run a few times, so its weights are left in their file.
    """
    setup = Setup(
        providers=tuple(providers),
        threads=threads,
        graph_level="all" if optimize else "none",
        session_options={} if optimize else _UNPACKED,
        allow_fallback=allow_fallback,
        custom_ops=tuple(custom_ops),
    )
    return setup.open(path, profile=profile)


def _is_there(provider: Provider) -> bool:
    return provider.ort in ort.get_available_providers()


def _register(options: "ort.SessionOptions", library: Path) -> None:
    """Add a library of operators; it runs code, so only a plain absolute path will do."""
    shown = safe(str(library))
    if not library.is_absolute() or not library.is_file():
        raise UsageError(
            f"--custom-ops {shown} is not the absolute path of a library",
            hint="give the whole path, as /opt/ops/libcustom.so",
        )
    try:
        options.register_custom_ops_library(str(library))
    except Exception as error:
        raise Unsupported(
            f"the operators in {shown} could not be loaded", cause=safe(str(error), 300)
        ) from None


def _load_libraries() -> None:
    """Load CUDA and cuDNN from the packages of this environment, where ONNX Runtime can do so."""
    preload = getattr(ort, "preload_dlls", None)
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            preload()


def package_version(name: str) -> str:
    """The version of an installed package; "" when it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def version() -> str:
    """The version of the installed ONNX Runtime."""
    return str(ort.__version__)


def built_with() -> tuple[str, str]:
    """The CUDA and cuDNN versions ONNX Runtime was built for; "" each where it does not tell."""
    facts = sys.modules.get("onnxruntime.capi.build_and_package_info")
    cuda, cudnn = (getattr(facts, name, "") or "" for name in ("cuda_version", "cudnn_version"))
    return str(cuda), str(cudnn)


def available() -> list[str]:
    """ONNX Runtime's names of the providers in the installed build."""
    return list(ort.get_available_providers())


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
        foreign = unknown and _FOREIGN.search(text)
        needed = "give the library that has the operator, as --custom-ops /opt/ops/libcustom.so"
        older = "a newer runtime or an older --opset may do"
        return Unsupported(message, cause=cause, hint=needed if foreign else older)
    if what == "did not run":
        return CheckFailed(message, cause=cause)
    return BadInput(message, cause=cause, hint="`modelkit inspect` shows what the file holds")
