"""From a torch module to ONNX: by graph capture, else by tracing, else with fixed axes.

Both exporters are needed: each handles modules that the other refuses or gets wrong, and only the
parity check that follows tells which is right.  With torch 2.13 graph capture writes opset 18 and
newer (asked for 7 to 16 it silently gives 18); tracing bakes Python loops and branches in.
"""

import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from modelkit.convert.export_errors import explained
from modelkit.convert.source import Route
from modelkit.convert.translations import Table, refuse_unused
from modelkit.errors import BadInput, Unsupported, UsageError
from modelkit.model import InputSpec, Model, load
from modelkit.runtime.session import Feeds, Run
from modelkit.safe import safe

CAPTURE_OPSET = 20
TRACE_OPSET = 17
_CAPTURE_OPSETS = range(18, 24)
_TRACE_OPSETS = range(9, 21)
_LOGGERS = ("torch", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def routes(
    module: torch.nn.Module,
    specs: tuple[InputSpec, ...],
    outputs: Sequence[str],
    samples: Sequence[torch.Tensor],
    opset: int | None = None,
    table: Table | None = None,
) -> tuple[Route, ...]:
    """Ways to ONNX, best first: both exporters, then both without dynamic axes.

    ``samples`` are example inputs in the order of ``specs``; dynamic axes of at least two in them
    (one row would be taken as fixed).  The exporters write the opset nearest to ``opset``.  A
    ``table`` of :mod:`modelkit.convert.translations` leaves graph capture only, which knows it.

    Raises:
        UsageError: a table for a module that cannot be captured.
    """
    fixed = tuple(
        replace(spec, shape=tuple(sample.shape))
        for spec, sample in zip(specs, samples, strict=True)
    )
    shown = ", ".join(f"{spec.name}{list(spec.shape)}" for spec in fixed)
    note = f"the axes are fixed, dynamic ones did not survive export: {shown}"
    script = isinstance(module, torch.jit.ScriptModule)
    if script and table:
        raise UsageError(
            "--translations are for graph capture, which takes no TorchScript",
            hint="give the weights and --model module:function instead",
            code="without-effect",
        )

    def capture(inputs: tuple[InputSpec, ...]) -> Callable[[], Model]:
        return lambda: captured(module, inputs, outputs, samples, opset, table)

    def trace(inputs: tuple[InputSpec, ...]) -> Callable[[], Model]:
        return lambda: traced(module, inputs, outputs, samples, opset)

    found = [] if script else [Route("graph capture", capture(specs))]
    if not table:
        found.append(Route("tracing", trace(specs)))
    if fixed != specs:
        if not script:
            found.append(Route("graph capture, fixed axes", capture(fixed), fixed, note))
        if not table:
            found.append(Route("tracing, fixed axes", trace(fixed), fixed, note))
    return tuple(found)


def captured(
    module: torch.nn.Module,
    specs: Sequence[InputSpec],
    outputs: Sequence[str],
    samples: Sequence[torch.Tensor],
    opset: int | None = None,
    table: Table | None = None,
) -> Model:
    """Export by graph capture; the model goes from memory to our own writer.

    Raises:
        Unsupported: the exporter refused; the text says what, where and what to do.
        UsageError: the module has no operator of ``table``.
    """
    with _quiet(), _explaining("graph capture"):
        program = torch.onnx.export(
            module,
            tuple(samples),
            dynamo=True,
            opset_version=_nearest(opset, CAPTURE_OPSET, _CAPTURE_OPSETS),
            input_names=[spec.name for spec in specs],
            output_names=list(outputs),
            dynamic_shapes=_dynamic_shapes(module, specs),
            verbose=False,
            custom_translation_table=table,
        )
    return _model_of(program, table)


def exported(
    program: "torch.export.ExportedProgram",
    specs: Sequence[InputSpec],
    outputs: Sequence[str],
    opset: int | None = None,
    table: Table | None = None,
) -> Model:
    """Translate an exported program, whose axes keep what it says.  Raises as :func:`captured`."""
    with _quiet(), _explaining("graph capture"):
        translated = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=_nearest(opset, CAPTURE_OPSET, _CAPTURE_OPSETS),
            input_names=[spec.name for spec in specs],
            output_names=list(outputs),
            verbose=False,
            custom_translation_table=table,
        )
    return _model_of(translated, table)


def _model_of(program: Any, table: Table | None) -> Model:
    model = getattr(program, "model", None)
    if not isinstance(model, ir.Model):
        raise Unsupported("torch's graph capture gave no model", code="export-failed")
    if table:
        refuse_unused(table, program.exported_program)
    return model


def traced(
    module: torch.nn.Module,
    specs: Sequence[InputSpec],
    outputs: Sequence[str],
    samples: Sequence[torch.Tensor],
    opset: int | None = None,
) -> Model:
    """Export by tracing.  Raises as :func:`captured`."""
    axes = {
        spec.name: {axis: dim for axis, dim in enumerate(spec.shape) if isinstance(dim, str)}
        for spec in specs
    }
    folder = TemporaryDirectory(prefix="modelkit-export-")
    path = Path(folder.name) / "model.onnx"
    with _quiet(), _explaining("tracing"):
        torch.onnx.export(
            module,
            tuple(samples),
            str(path),
            dynamo=False,
            opset_version=_nearest(opset, TRACE_OPSET, _TRACE_OPSETS),
            input_names=[spec.name for spec in specs],
            output_names=list(outputs),
            dynamic_axes={name: found for name, found in axes.items() if found},
        )
    model = load(path)
    # Its weights are mapped from the folder, which goes when the model goes.
    model.meta["modelkit.folder"] = folder
    _name_axes(model, specs)
    return model


def reference(module: torch.nn.Module, specs: Sequence[InputSpec], names: Sequence[str]) -> Run:
    """The module itself, eagerly, as a function of arrays; outputs are named ``names``.

    Raises (when run):
        BadInput: the module does not run on these inputs.
    """

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        tensors = [torch.from_numpy(np.array(feeds[spec.name])) for spec in specs]
        values = evaluate(module, tensors)
        if len(values) != len(names):
            raise BadInput(
                f"the module gives {len(values)} outputs here, and gave {len(names)} before",
                hint="the count of outputs must not depend on the inputs",
            )
        return {name: _array(value) for name, value in zip(names, values.values(), strict=True)}

    return run


def evaluate(module: torch.nn.Module, tensors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors that a module gives, by name, without gradients.

    Raises:
        BadInput: it raised; the cause says what and in which line of its code.
    """
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return named_outputs(module(*tensors))
    except Exception as error:  # any code of the user's
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise BadInput(
            f"the module does not run on inputs of shape {shapes}",
            cause=safe(" ".join(f"{type(error).__name__}: {error}".split()), 300),
            code="does-not-run",
        ) from None


def named_outputs(value: Any, name: str = "") -> dict[str, torch.Tensor]:
    """The tensors in a module's result, flat and in order.

    Names are the keys of mappings and named tuples, joined by "_"; "output" and a number for the
    rest.  None is left out, as the exporters do.
    """
    if isinstance(value, torch.Tensor):
        return {name or "output": value}
    if hasattr(value, "_asdict"):
        value = value._asdict()
    found: dict[str, torch.Tensor] = {}
    if isinstance(value, dict):
        for key, part in value.items():
            found |= named_outputs(part, f"{name}_{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        alone = len(value) == 1 and not name
        for index, part in enumerate(value):
            found |= named_outputs(part, "" if alone else f"{name or 'output'}_{index}")
    return found


def _array(value: torch.Tensor) -> np.ndarray:
    if value.dtype == torch.bfloat16:
        raise BadInput("the module gives bfloat16", hint="cast its outputs to float32")
    found: np.ndarray = value.detach().cpu().resolve_conj().resolve_neg().numpy()
    return found


def _nearest(opset: int | None, default: int, written: range) -> int:
    if opset is None:
        return default
    return min(max(opset, written.start), written.stop - 1)


def _dynamic_shapes(module: torch.nn.Module, specs: Sequence[InputSpec]) -> tuple[Any, ...] | None:
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
    if not named:
        return None
    kinds = [p.kind for p in inspect.signature(module.forward).parameters.values()]
    # A forward(*values) has one argument, a tuple.
    return (shapes,) if kinds == [inspect.Parameter.VAR_POSITIONAL] else shapes


def _name_axes(model: Model, specs: Sequence[InputSpec]) -> None:
    """Tracing invents a name for every dynamic axis of an output; unknown is more honest."""
    known = {dim for spec in specs for dim in spec.shape if isinstance(dim, str)}
    for value in model.graph.outputs:
        if value.shape is not None:
            dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
            value.shape = ir.Shape(
                [dim if isinstance(dim, int) or dim in known else None for dim in dims]
            )


@contextmanager
def _explaining(route: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the exporters raise anything, of their own and of others
        raise explained(error, route) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' chatter away from the terminal."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
