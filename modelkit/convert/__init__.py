"""``convert``: any framework to ONNX, proven against the framework."""

import importlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from onnx_ir import Value

from modelkit import progress
from modelkit.convert.detect import detect
from modelkit.convert.digest import source_digest
from modelkit.convert.source import Options, Source
from modelkit.deliver import Delivery, Terms, deliver, up_to_date
from modelkit.errors import (
    BadInput,
    CheckFailed,
    MissingExtra,
    ModelkitError,
    Unsupported,
    UsageError,
)
from modelkit.model import (
    Model,
    add_step,
    check_target,
    facts,
    load,
    strip_debug,
    write_inputs,
)
from modelkit.reports import Attempt, ConvertReport, Verification
from modelkit.safe import safe


class Framework(NamedTuple):
    """One row of the support table; ``module`` is "" while the format is only recognised."""

    name: str
    seen_by: str
    module: str = ""
    needs: str = ""
    extra: str = ""


FRAMEWORKS: dict[str, Framework] = {
    "onnx": Framework("ONNX", "its fields", "modelkit.convert.from_onnx"),
    "sentence-transformers": Framework(
        "sentence-transformers folder", "modules.json", "modelkit.convert.from_transformers",
        "transformers", "hf",
    ),
    "transformers": Framework(
        "Hugging Face folder", "config.json", "modelkit.convert.from_transformers",
        "transformers", "hf",
    ),
    "torch": Framework("PyTorch", "data.pkl", "modelkit.convert.from_torch", "torch", "torch"),
    "torch-pickle": Framework(
        "PyTorch (legacy)", "its first bytes", "modelkit.convert.from_torch", "torch", "torch"
    ),
    "safetensors": Framework(
        "PyTorch weights", "its header", "modelkit.convert.from_torch", "torch", "torch"
    ),
    "torchscript": Framework(
        "TorchScript", "code/ and data.pkl", "modelkit.convert.from_torch", "torch", "torch"
    ),
    "pt2": Framework("torch.export", "models/model.json"),
    "pickle": Framework("Python pickle", "its first bytes"),
    "saved-model": Framework("TensorFlow SavedModel", "saved_model.pb"),
    "frozen-graph": Framework("TensorFlow GraphDef", "its fields"),
    "tflite": Framework("TensorFlow Lite", "TFL3"),
    "keras": Framework("Keras", "config.json and metadata.json"),
    "keras-h5": Framework("Keras HDF5", "its first bytes"),
    "skops": Framework("scikit-learn (skops)", "schema.json"),
    "xgboost": Framework("XGBoost", "its first bytes"),
    "lightgbm": Framework("LightGBM", "its first bytes"),
    "catboost": Framework("CatBoost", "its first bytes"),
    "libsvm": Framework("LibSVM", "its first bytes"),
    "spark": Framework("Spark ML", "metadata/part-*"),
    "paddle": Framework("PaddlePaddle", "*.pdiparams"),
    "coreml": Framework("Core ML", "Manifest.json"),
    "mxnet": Framework("MXNet", "*-symbol.json"),
    "mindir": Framework("MindSpore", "its first bytes"),
    "cntk": Framework("CNTK", "its first bytes"),
}  # fmt: skip
"""Format to its row; a row without a module is recognised and refused by name."""


def open_source(source: str, *, threads: int = 0, options: Options | None = None) -> Source:
    """Load ``source`` (a path, or "module:factory") without exporting it.

    Raises:
        BadInput, Unsupported, MissingExtra, UsageError: with what to do next.
    """
    chosen = options or Options(threads=threads)
    return _load(source, chosen)[0]


def convert_file(
    source: str,
    output: str | None = None,
    *,
    model: str | None = None,
    input_shape: list[str] | None = None,
    opset: int | None = None,
    task: str | None = None,
    trust_source: bool = False,
    seed: int = 0,
    force: bool = False,
    dry_run: bool = False,
    verify: bool = True,
) -> ConvertReport:
    """Convert ``source`` and prove the result against the source framework.

    Routes are tried in order; the first whose result passes the parity check is written.

    Raises:
        CheckFailed: every route failed or computes something else; nothing was written.
    """
    target = Path(output) if output else _beside(source)
    options = Options(model, tuple(input_shape or ()), opset, task, trust_source)
    recipe: dict[str, object] = {
        "model": model,
        "input_shape": input_shape or [],
        "opset": opset,
        "task": task,
    }
    digest = source_digest(source, model)
    made_by_code = model is not None or not Path(source).exists()
    if (
        verify
        and not dry_run
        and not made_by_code
        and up_to_date(target, "convert", recipe, digest)
    ):
        return _already(source, target)
    if not dry_run:
        check_target(target, force=force)
    loaded, seen = _load(source, options)
    attempts: list[Attempt] = []
    terms = Terms(force=force, verify=verify, measure=False, dry_run=dry_run, seed=seed)
    delivery, result = _first_right(loaded, source, target, recipe, digest, terms, attempts)
    copied, notes = ([], []) if dry_run else _copy_beside(loaded.files, target.parent, force)
    return ConvertReport(
        source=source,
        framework=loaded.framework,
        detected=seen,
        attempts=tuple(attempts),
        result=delivery.result,
        inputs=tuple(_signature(result.graph.inputs)),
        outputs=tuple(_signature(result.graph.outputs)),
        verification=delivery.verification,
        copied=tuple(copied),
        notes=(*loaded.notes, *notes),
        written=delivery.written,
    )


def _load(source: str, options: Options) -> tuple[Source, str]:
    path = Path(source)
    if ":" in source and not path.exists():
        name, seen = "torch", "module:factory"
        options = Options(source, *list(vars(options).values())[1:])
    else:
        name, seen = detect(path)
    row = FRAMEWORKS[name]
    if name == "pickle":
        raise BadInput(
            f"{safe(source)} is a Python pickle, which runs code when it is loaded",
            hint="save a torch state_dict or safetensors, or a scikit-learn model with skops",
            code="untrusted",
        )
    if not row.module:
        ready = ", ".join(dict.fromkeys(r.name for r in FRAMEWORKS.values() if r.module))
        raise Unsupported(
            f"{safe(source)} is {row.name}, which cannot be converted yet",
            cause=f"recognised by {seen}",
            hint=f"convertible now: {ready}",
            code="unsupported-format",
        )
    progress.step(f"loading {row.name}")
    # Nothing is fetched: what is not on this disk is an error, not a download.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        module = importlib.import_module(row.module)
    except ModuleNotFoundError as missing:
        if missing.name in (row.needs, "torch", "safetensors"):
            raise MissingExtra(f"converting {row.name}", row.extra) from None
        raise
    return module.open_model(
        path if name != "torch" or path.exists() else None, name, options
    ), seen


def _first_right(
    loaded: Source,
    source: str,
    target: Path,
    recipe: dict[str, object],
    digest: str,
    terms: Terms,
    attempts: list[Attempt],
) -> tuple[Delivery, Model]:
    failures: list[ModelkitError] = []
    for route in loaded.routes:
        progress.step(f"export by {route.name}")
        try:
            model = route.export()
            strip_debug(model)
            _refuse_training(model)
            if loaded.inputs:
                write_inputs(model, loaded.inputs)
            tried = [*attempts, Attempt(route.name, "verified")]
            decisions = [f"{attempt.route}: {attempt.outcome}" for attempt in tried]
            add_step(model, "convert", recipe, digest, decisions)
            origin = Path(source) if loaded.reference is None else None
            delivery = deliver(
                model,
                target,
                terms,
                step="convert",
                source=origin,
                reference=loaded.reference,
                specs=loaded.inputs,
                gated=False,
            )
        except (CheckFailed, Unsupported) as error:
            failures.append(error)
            attempts.append(Attempt(route.name, f"refused: {error.cause or error.message}"))
            continue
        attempts.append(Attempt(route.name, "verified" if terms.verify else "not verified"))
        return delivery, model
    first = failures[0]
    causes = [f"{a.route}: {a.outcome}" for a in attempts]
    raise type(first)(
        f"{safe(source)} could not be converted" if len(failures) > 1 else first.message,
        cause="\n".join(causes) if len(causes) > 1 else first.cause,
        hint=first.hint,
        code=first.code,
    )


def _refuse_training(model: Model) -> None:
    """A result in training mode changes from run to run."""
    for node in model.graph.all_nodes():
        mode = node.attributes.get_int("training_mode", 0)
        if node.op_type == "BatchNormalization" and mode:
            raise CheckFailed(
                f"BatchNormalization '{safe(node.name or '')}' is in training mode",
                hint="call eval() in the factory",
                code="training-mode",
            )


def _signature(values: Sequence[Value]) -> list[str]:
    shown = []
    for value in values:
        kind = value.dtype.name.lower() if value.dtype else "?"
        dims = ", ".join(str(getattr(dim, "value", dim)) for dim in value.shape or ())
        shown.append(f"{safe(value.name or '')} {kind}[{dims}]")
    return shown


def _copy_beside(files: tuple[Path, ...], folder: Path, force: bool) -> tuple[list[str], list[str]]:
    copied, notes = [], []
    for file in files:
        place = folder / file.name
        if place.exists() and place.read_bytes() == file.read_bytes():
            continue
        if place.exists() and not force:
            notes.append(f"another {safe(file.name)} lies there and was left (--force replaces it)")
            continue
        shutil.copyfile(file, place)
        copied.append(file.name)
    return copied, notes


def _beside(source: str) -> Path:
    path = Path(source)
    if not path.exists():
        raise UsageError("a factory has no file to write beside", hint="add -o model.onnx")
    if path.suffix == ".onnx":
        return path.with_suffix(".converted.onnx")
    return path.with_suffix(".onnx") if path.is_file() else path.parent / f"{path.name}.onnx"


def _already(source: str, target: Path) -> ConvertReport:
    model = load(target)
    check = Verification("convert", "", True, "", (), skipped="")
    return ConvertReport(
        source, "", "", (), facts(model, target), tuple(_signature(model.graph.inputs)),
        tuple(_signature(model.graph.outputs)), check, up_to_date=True, written=str(target),
    )  # fmt: skip


__all__ = ["FRAMEWORKS", "Options", "Source", "convert_file", "open_source"]
