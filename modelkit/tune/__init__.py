"""Measure on this machine which fusions pay here."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from modelkit import progress
from modelkit.errors import UsageError
from modelkit.fusions import load_fusions
from modelkit.model import Model, check_target, clone, load, save
from modelkit.passes import ONCE, name_of, run_level
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.reports import KernelRow, KernelsReport
from modelkit.rewrite import apply
from modelkit.runtime.bench import interleave, onnx_candidate, ratio
from modelkit.runtime.machine import instruction_set, machine_name
from modelkit.runtime.peak import peak_of
from modelkit.runtime.providers import CPU, Provider, parse
from modelkit.runtime.session import Feeds, Setup
from modelkit.runtime.session import version as ort_version
from modelkit.targets import Target, release, text_of
from modelkit.tune.activations import ACTIVATIONS
from modelkit.tune.affines import AFFINES
from modelkit.tune.contrib import CONTRIB
from modelkit.tune.images import IMAGES
from modelkit.tune.sequences import SEQUENCES
from modelkit.tune.subjects import STANDARD, Subject

SUBJECTS = (*STANDARD, *ACTIVATIONS, *AFFINES, *SEQUENCES, *IMAGES, *CONTRIB)


def measure_kernels(
    output: str | None = None,
    *,
    only: Sequence[str] = (),
    provider: str = "cpu",
    intra_op: int = 1,
    seconds: float = 1.0,
    force: bool = False,
    seed: int = 0,
) -> KernelsReport:
    """Time every fusion of the levels above basic, alone, before against after, interleaved.

    ONNX Runtime's own optimizations are on for both.  CPU time is compared on one thread of the
    CPU, else the wall's, on a device with inputs and outputs there.  ``seconds`` are those of timed
    runs for each side and size.  With ``output`` the figures become a table for ``optimize --target
    FILE``.

    Raises:
        UsageError: ``only`` names something that is not measured, or ``provider`` none.
        ProviderMissing: this ONNX Runtime cannot open it.
        CannotWrite: ``output`` is there and ``force`` is not given.
    """
    known = sorted({subject.fusion for subject in SUBJECTS})
    for name in only:
        if name not in known:
            raise UsageError(f"'{name}' is not measured", hint=f"one of: {', '.join(known)}")
    if output:
        check_target(Path(output), force=force)
    rows: list[KernelRow] = []
    wanted = parse(provider)
    if len(wanted) != 1 or len(wanted[0]) != 1:
        raise UsageError("kernels are timed on one provider", hint="--providers cuda")
    device = wanted[0][0]
    setup = Setup(providers=(device,), threads=intra_op, graph_level="all")
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        for subject in SUBJECTS:
            if not only or subject.fusion in only:
                rows += _measured(subject, Path(folder), setup, seconds=seconds, seed=seed)
    table = Target(
        name="here",
        title=_title(device, intra_op),
        measured=f"ONNX Runtime {ort_version()}, {'wall' if _by_wall(setup) else 'CPU'} time,"
        " interleaved, ENABLE_ALL",
        command=f"modelkit tune --kernels --providers {device.name} --intra-op {intra_op}"
        f" --duration {seconds:g}",
        instructions=instruction_set() if device == CPU else "",
        runtime=release(ort_version()),
        ratios=_grouped(rows),
    )
    if output:
        Path(output).write_text(text_of(table), encoding="utf-8")
    return KernelsReport(table.title, table.measured, tuple(rows), output or "")


def _by_wall(setup: Setup) -> bool:
    """Whether the time of one thread is not all the time a run takes."""
    return setup.providers[0] != CPU or setup.threads != 1


def _title(device: Provider, threads: int) -> str:
    where = "" if device == CPU else f"provider {device.name}, "
    return f"{where}{machine_name()}, {threads} thread{'s' * (threads > 1)}"


def _grouped(rows: Sequence[KernelRow]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row.fusion, {})[row.size] = round(row.ratio.median, 2)
    return found


def _measured(
    subject: Subject, folder: Path, setup: Setup, *, seconds: float, seed: int
) -> list[KernelRow]:
    before = folder / "before.onnx"
    before.write_bytes(_model(subject.text, seed).SerializeToString())
    model = load(before)
    run_level(model, "basic", chosen=lambda name: True)
    _apply(model, subject.base)
    rival = clone(model)
    _apply(rival, subject.against)
    save(rival, before, force=True)
    _apply(model, (subject.fusion, *subject.also))
    after = save(model, folder / "after.onnx", force=True)
    rows, on_cpu = [], setup.providers[0] == CPU
    for point in subject.points:
        progress.step(f"{subject.fusion} at {point}")
        feeds = _feeds(load(before), point, seed)
        runners = [
            onnx_candidate(path, setup=setup, io_binding=not on_cpu) for path in (before, after)
        ]
        old, new = interleave(runners, feeds, seconds=seconds)
        size = " ".join(
            (*([subject.name] if subject.name else ()), "x".join(map(str, point.values())))
        )
        opening = float(np.median(new.load) / np.median(old.load))
        found = ratio(old, new, wall=_by_wall(setup))
        memory = _memory(before, after, feeds) if on_cpu else 0.0
        rows.append(KernelRow(subject.fusion, size, found, opening, memory))
    return rows


def _memory(before: Path, after: Path, feeds: Feeds) -> float:
    old, new = (peak_of(path, feeds) for path in (before, after))
    return new / old if old else 0.0


def _apply(model: Model, names: Sequence[str]) -> set[str]:
    """Apply the fusions called ``names``, one after the other; gives those that fired."""
    fired: set[str] = set()
    once = {name_of(each): each for each in ONCE}
    for name in names:
        infer_symbols(model)
        if name in once:
            fired |= {name} if once[name](model).count else set()
            continue
        fusions = [fusion for fusion in load_fusions() if fusion.name == name]
        fired |= {each.name for each in apply(fusions, model, allow=lambda fusion: None).changes}
        run_level(model, "basic", chosen=lambda name: True)
    return fired


def _model(text: str, seed: int) -> onnx.ModelProto:
    """The model in ``text``; what its ``<>`` declares and no operator makes is a random weight."""
    model = onnx.parser.parse_model(text)
    random = np.random.default_rng(seed)
    made = {name for node in model.graph.node for name in node.output}
    for value in list(model.graph.value_info):
        if value.name in made:
            continue
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = 0.05 * random.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
        model.graph.value_info.remove(value)
    return model


def _feeds(model: Model, point: dict[str, int], seed: int) -> Feeds:
    random = np.random.default_rng(seed)
    feeds: Feeds = {}
    for value in model.graph.inputs:
        dims = [dim if isinstance(dim, int) else point[str(dim.value)] for dim in value.shape or ()]
        numbers: np.ndarray = random.standard_normal(dims)
        kind = np.float32 if value.dtype is None else value.dtype.numpy()
        if kind == np.bool_:
            numbers = numbers > 1
        elif np.issubdtype(kind, np.integer):
            numbers = numbers > 0  # an index that every table has
        feeds[str(value.name)] = numbers.astype(kind)
    return feeds
