"""``convert``: any framework to ONNX, proven against the framework."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnx_ir import Value

from modelkit import progress
from modelkit.convert.archives import Detected
from modelkit.convert.attempts import first_right
from modelkit.convert.companions import copy_beside
from modelkit.convert.detect import format_of
from modelkit.convert.digest import source_digest
from modelkit.convert.frameworks import FRAMEWORKS, Framework, convertible
from modelkit.convert.source import Options, Route, Source
from modelkit.deliver import Terms, up_to_date
from modelkit.errors import BadInput, MissingExtra, Unsupported, UsageError
from modelkit.model import check_target, facts, load
from modelkit.reports import ConvertReport, Verification
from modelkit.runtime.session import use_custom_ops
from modelkit.safe import safe

_FACTORY = Detected("torch", "module:function")


def open_source(source: str | Path, *, threads: int = 0, options: Options | None = None) -> Source:
    """Load ``source`` (a path, or "module:function") without exporting it.

    Raises:
        BadInput, Unsupported, MissingExtra, UsageError: with what to do next.
    """
    return _opened(str(source), options or Options(threads=threads))[0]


def convert_file(
    source: str,
    output: str | None = None,
    *,
    model: str | None = None,
    input_shape: Sequence[str] | None = None,
    opset: int | None = None,
    task: str | None = None,
    trust_source: bool = False,
    seed: int = 0,
    force: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    custom_ops: Sequence[str] = (),
    preprocessing: Mapping[str, Any] | None = None,
    double: bool = False,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> ConvertReport:
    """Convert ``source`` and prove the result against the source framework.

    Routes are tried in order; the first whose result passes the parity check, at shapes other
    than the one exported with, is written to ``output`` (default: beside the source).

    ``model`` is "package.module:function" that builds the torch module (its code is run);
    ``input_shape`` as in :mod:`modelkit.convert.input_shapes`; ``task`` a Hugging Face task, where
    the folder does not say it; ``trust_source`` loads files that can run code; ``preprocessing``
    is kept in the result for the verbs that read images and texts; ``double`` computes in float64
    (models of tables); ``inputs`` and ``outputs`` are the nodes to cut a TensorFlow graph at.

    Raises:
        CheckFailed: every route failed or computes something else; nothing was written.
        BadInput, Unsupported, MissingExtra, UsageError, CannotWrite: with what to do next.
    """
    use_custom_ops(custom_ops)
    target = Path(output) if output else _beside(source)
    options = Options(
        model,
        tuple(input_shape or ()),
        opset,
        task,
        trust_source,
        preprocessing=preprocessing or {},
        double=double,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
    )
    recipe = _recipe(options)
    digest = source_digest(source, model)
    code = model is not None or not Path(source).exists()
    if verify and not dry_run and not code and up_to_date(target, "convert", recipe, digest):
        return _already(source, target)
    if not dry_run:
        check_target(target, force=force)
    loaded, seen = _opened(source, options)
    terms = Terms(force=force, verify=verify, measure=False, dry_run=dry_run, seed=seed)
    delivery, result, attempts, lost = first_right(
        loaded, source, target, terms, recipe=recipe, digest=digest, options=options
    )
    copied, left = ([], []) if dry_run else copy_beside(loaded.files, target.parent, force=force)
    return ConvertReport(
        source=source,
        framework=loaded.framework,
        detected=seen,
        attempts=attempts,
        result=delivery.result,
        inputs=tuple(_signature(result.graph.inputs)),
        outputs=tuple(_signature(result.graph.outputs)),
        verification=delivery.verification,
        copied=tuple(copied),
        notes=(*loaded.notes, *lost, *left),
        written=delivery.written,
    )


def _recipe(options: Options) -> dict[str, object]:
    """What decides the bytes of the result, for its provenance."""
    return {
        "model": options.model,
        "input_shape": list(options.input_shape),
        "opset": options.opset,
        "task": options.task,
        "preprocessing": dict(options.preprocessing),
        "double": options.double,
        "inputs": list(options.inputs),
        "outputs": list(options.outputs),
    }


def _opened(source: str, options: Options) -> tuple[Source, str]:
    path: Path | None = Path(source)
    if ":" in source and not Path(source).exists():
        path, found, options = None, _FACTORY, replace(options, model=source)
    else:
        found = format_of(Path(source))
    row = FRAMEWORKS[found.format]
    if "pickle" in found.format and not options.trust_source:
        raise _untrusted(source, row, found)
    if not row.module:
        raise _no_route(source, row, found)
    progress.step(f"loading {row.name}")
    try:
        module = importlib.import_module(row.module)
    except ModuleNotFoundError as missing:
        if not (missing.name or "modelkit").startswith("modelkit"):
            raise MissingExtra(f"converting {row.name}", row.extra) from None
        raise
    opened: Source = module.open_model(path, found.format, options)
    return opened, found.seen


def _untrusted(source: str, row: Framework, found: Detected) -> BadInput:
    return BadInput(
        f"{safe(source)} is a {row.name}, which runs code when it is loaded",
        cause=f"recognised by: {found.seen}",
        hint="save torch weights as safetensors, or a scikit-learn model with skops;"
        " if you trust it, add --trust-source",
        code="untrusted",
    )


def _no_route(source: str, row: Framework, found: Detected) -> Unsupported:
    return Unsupported(
        f"{safe(source)} is of the format {row.name}, which cannot be converted yet",
        cause=f"recognised by: {found.seen}",
        hint=f"convertible now: {convertible()}",
        code="unsupported-format",
    )


def _signature(values: Sequence[Value]) -> list[str]:
    shown = []
    for value in values:
        kind = value.dtype.name.lower() if value.dtype else "?"
        dims = ", ".join(str(getattr(dim, "value", dim) or "?") for dim in value.shape or ())
        shown.append(safe(f"{value.name or ''} {kind}[{dims}]"))
    return shown


def _beside(source: str) -> Path:
    path = Path(source)
    if not path.exists() and ":" in source:
        raise UsageError("a function has no file to write beside", hint="add -o model.onnx")
    if path.suffix == ".onnx":
        return path.with_suffix(".converted.onnx")
    return path.with_suffix(".onnx") if path.is_file() else path.parent / f"{path.name}.onnx"


def _already(source: str, target: Path) -> ConvertReport:
    model = load(target)
    return ConvertReport(
        source,
        framework="",
        detected="",
        attempts=(),
        result=facts(model, target),
        inputs=tuple(_signature(model.graph.inputs)),
        outputs=tuple(_signature(model.graph.outputs)),
        verification=Verification("convert", "", True, "", ()),
        up_to_date=True,
        written=str(target),
    )


__all__ = ["FRAMEWORKS", "Options", "Route", "Source", "convert_file", "open_source"]
