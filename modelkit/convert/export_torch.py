"""From a torch module to ONNX: by graph capture, else by tracing.

Both exporters are needed: each handles modules the other refuses or gets wrong, and only the
parity check that follows tells which is right (torch 2.13: dynamo=True wants opset >= 18, asking
for less silently gives 18; tracing bakes Python loops and branches in).
"""

import inspect
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from modelkit.convert.source import Options, Route
from modelkit.errors import Unsupported
from modelkit.model import InputSpec, Model, load
from modelkit.runtime.session import Feeds, Run
from modelkit.safe import safe

DYNAMO_OPSET = 20
TRACE_OPSET = 17
_OLDEST_DYNAMO = 18
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

# Part of the exporter's text to what the user can do.
_ADVICE = (
    (
        "GuardOnDataDependent",
        "a branch depends on a tensor's value: use torch.where",
    ),
    (
        "Could not guard on data-dependent",
        "a branch depends on a tensor's value: use torch.where",
    ),
    ("conflicts between user-specified", "an axis named as dynamic is fixed by the module"),
    ("Constraints violated", "an axis named as dynamic is fixed by the module"),
    ("UnsupportedOperatorError", "an operator has no ONNX form: replace it in the module"),
    ("No ONNX function found", "an operator has no ONNX form: replace it in the module"),
)


def routes(
    module: torch.nn.Module,
    specs: Sequence[InputSpec],
    outputs: Sequence[str],
    options: Options,
    samples: Sequence[torch.Tensor],
) -> tuple[Route, ...]:
    """Both exporters, graph capture first where the module allows it.

    ``samples`` are example inputs with at least two rows (one row would be taken as fixed).
    """
    opset = options.opset

    def captured() -> Model:
        if opset is not None and opset < _OLDEST_DYNAMO:
            raise Unsupported(f"graph capture writes opset {_OLDEST_DYNAMO} and newer, not {opset}")
        with _quiet(), _exporting("graph capture"):
            program = torch.onnx.export(
                module,
                tuple(samples),
                dynamo=True,
                opset_version=opset or DYNAMO_OPSET,
                input_names=[spec.name for spec in specs],
                output_names=list(outputs),
                dynamic_shapes=_dynamic_shapes(module, specs),
                verbose=False,
            )
        assert program is not None
        return _reread(program.save, opset)

    def traced() -> Model:
        axes = {spec.name: _axes(spec) for spec in specs}

        def write(path: str) -> None:
            with _quiet(), _exporting("tracing"):
                torch.onnx.export(
                    module,
                    tuple(samples),
                    path,
                    dynamo=False,
                    opset_version=opset or TRACE_OPSET,
                    input_names=[spec.name for spec in specs],
                    output_names=list(outputs),
                    dynamic_axes={name: found for name, found in axes.items() if found},
                )

        return _reread(write, opset)

    tracing = Route("tracing", traced)
    if isinstance(module, torch.jit.ScriptModule):
        return (tracing,)
    return (Route("graph capture", captured), tracing)


def reference(module: torch.nn.Module, specs: Sequence[InputSpec], names: Sequence[str]) -> Run:
    """The module itself, eagerly, as a function of arrays; outputs are named ``names``."""

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        tensors = [torch.from_numpy(np.ascontiguousarray(feeds[spec.name])) for spec in specs]
        with torch.no_grad():
            values = flat(module(*tensors))
        return {name: value.numpy() for name, value in zip(names, values, strict=True)}

    return run


def flat(value: Any) -> list[torch.Tensor]:
    """The tensors of a module's result, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in flat(part)]
    return []


def _dynamic_shapes(module: torch.nn.Module, specs: Sequence[InputSpec]) -> tuple[Any, ...]:
    named: dict[str, Any] = {}
    shapes = tuple(
        {
            axis: named.setdefault(dim, torch.export.Dim(dim))
            for axis, dim in enumerate(spec.shape)
            if isinstance(dim, str)
        }
        or None
        for spec in specs
    )
    kinds = [p.kind for p in inspect.signature(module.forward).parameters.values()]
    # A forward(*values) has one argument, a tuple.
    return (shapes,) if kinds == [inspect.Parameter.VAR_POSITIONAL] else shapes


def _axes(spec: InputSpec) -> dict[int, str]:
    return {axis: dim for axis, dim in enumerate(spec.shape) if isinstance(dim, str)}


def _reread(write: Callable[[str], object], opset: int | None) -> Model:
    """What the exporter writes, read by our own reader; weights stay mapped while we need them."""
    folder = TemporaryDirectory(prefix="modelkit-export-")
    path = Path(folder.name) / "model.onnx"
    write(str(path))
    model = load(path)
    # The mapped weights outlive the folder where the system allows it; else it stays until exit.
    model.meta["modelkit.folder"] = folder
    found = model.graph.opset_imports.get("", 0)
    if opset is not None and found != opset:
        raise Unsupported(f"the exporter wrote opset {found}, not {opset}")
    return model


@contextmanager
def _exporting(route: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        text = _ANSI.sub("", f"{type(root).__name__}: {root}").strip()
        first = text.splitlines()[0] if text else type(root).__name__
        hint = next((advice for sign, advice in _ADVICE if sign in text), "see the cause")
        raise Unsupported(
            f"torch could not export the module by {route}",
            cause=safe(first, 400),
            hint=hint,
            code="export-failed",
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' chatter out of the log."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
