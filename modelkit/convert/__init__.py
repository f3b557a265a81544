"""``convert``: any framework to ONNX, proven against the framework."""

import importlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from onnx_ir import Value

from modelkit import progress
from modelkit.convert.applicable import refuse_without_effect
from modelkit.convert.archives import Detected
from modelkit.convert.attempts import first_right
from modelkit.convert.axes import with_axes
from modelkit.convert.companions import copy_beside
from modelkit.convert.detect import format_of
from modelkit.convert.digest import source_digest
from modelkit.convert.frameworks import FRAMEWORKS, Framework, convertible
from modelkit.convert.renaming import renamed
from modelkit.convert.sample_file import with_sample
from modelkit.convert.source import Options, Route, Source, options_of
from modelkit.deliver import Terms, up_to_date
from modelkit.errors import BadInput, MissingExtra, Unsupported, UsageError
from modelkit.model import check_target, facts, load
from modelkit.reports import ConvertReport, Verification
from modelkit.runtime.session import use_custom_ops
from modelkit.safe import safe

_FACTORY = Detected("torch", "module:function")
_FUNCTION = Detected("jax", "jax:module:function")


def open_source(source: str | Path, *, threads: int = 0, options: Options | None = None) -> Source:
    """Load ``source`` (a path, "module:function" or "hf:ORG/NAME@REV") without exporting it.

    Raises:
        BadInput, Unsupported, MissingExtra, UsageError: with what to do next.
    """
    local, _ = _on_disk(str(source))
    return _opened(local, options or Options(threads=threads))[0]


def convert_file(
    source: str,
    output: str | None = None,
    *,
    seed: int = 0,
    force: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    custom_ops: Sequence[str] = (),
    **said: Any,
) -> ConvertReport:
    """Convert ``source`` and prove the result against the source framework.

    Routes are tried in order; the first whose result passes the parity check, at shapes other
    than the one exported with, is written to ``output`` (default: beside the source).

    ``said`` are fields of :class:`modelkit.convert.source.Options`: what the user knows of the
    source and wants of the result.

    Raises:
        CheckFailed: every route failed or computes something else; nothing was written.
        BadInput, Unsupported, MissingExtra, UsageError, CannotWrite: with what to do next.
    """
    options = options_of(said)
    if options.dtype not in ("float32", "float16", "source"):
        raise UsageError(
            f"there are no weights in {safe(options.dtype)}", hint="float32, float16 or source"
        )
    use_custom_ops(custom_ops)
    target = Path(output) if output else _beside(source)
    typed, (source, fetched) = source, _on_disk(source)
    recipe = _recipe(options)
    digest = source_digest(source, options.model)
    code = bool(options.model or options.translations) or not Path(source).exists()
    if verify and not dry_run and not code and up_to_date(target, "convert", recipe, digest):
        return _already(typed, target)
    if not dry_run:
        check_target(target, force=force)
    loaded, seen = _opened(source, options)
    loaded = with_sample(renamed(with_axes(loaded, options), options), options)
    terms = Terms(force=force, verify=verify, measure=False, dry_run=dry_run, seed=seed)
    delivery, result, attempts, lost = first_right(
        loaded, source, target, terms, recipe=recipe, digest=digest, options=options
    )
    copied, left = ([], []) if dry_run else copy_beside(loaded.files, target.parent, force=force)
    return ConvertReport(
        source=typed,
        framework=loaded.framework,
        detected=seen,
        attempts=attempts,
        result=delivery.result,
        inputs=tuple(_signature(result.graph.inputs)),
        outputs=tuple(_signature(result.graph.outputs)),
        verification=delivery.verification,
        copied=tuple(copied),
        notes=(*fetched, *loaded.notes, *lost, *left),
        written=delivery.written,
    )


def _recipe(options: Options) -> dict[str, object]:
    """What decides the bytes of the result, for its provenance."""
    fields = asdict(options)
    for name in ("threads", "trust_source", "sample"):
        del fields[name]
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def _on_disk(source: str) -> tuple[str, tuple[str, ...]]:
    """Where ``source`` lies, once it is fetched where it is an address of the Hub, and notes."""
    if not source.startswith("hf:") or Path(source).exists():
        return source, ()
    try:
        from modelkit.convert import hub
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("modelkit"):
            raise
        raise MissingExtra("fetching from the Hugging Face Hub", "hf") from None
    found = hub.fetch(source)
    return str(found.folder), found.notes


def _opened(source: str, options: Options) -> tuple[Source, str]:
    path: Path | None = Path(source)
    if source.startswith("jax:") and not Path(source).exists():
        path, found = None, _FUNCTION
        options = replace(options, model=source.removeprefix("jax:"))
    elif ":" in source and not Path(source).exists():
        path, found, options = None, _FACTORY, replace(options, model=source)
    else:
        found = format_of(Path(source))
    row = FRAMEWORKS[found.format]
    if "pickle" in found.format and not options.trust_source:
        raise _untrusted(source, row, found)
    if not row.module:
        raise _no_route(source, row, found)
    refuse_without_effect(options, found.format)
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
    if source.startswith("hf:") and not path.exists():
        return Path(f"{source.partition('@')[0].rpartition('/')[2] or 'model'}.onnx")
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
