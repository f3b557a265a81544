"""``run``: a model on files, arrays or random values, its outputs to a file or the terminal."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from modelkit import progress
from modelkit.errors import BadInput, UsageError
from modelkit.inference.clip import Pairing, is_clip, run_clip
from modelkit.inference.post import Step, apply_steps, read_labels, read_steps
from modelkit.inference.writers import SUFFIXES, Writer, open_writer
from modelkit.model import SharedCache, load, sha256
from modelkit.reports import Placement, RunReport
from modelkit.runtime.binding import shared_cache
from modelkit.runtime.data import Sample
from modelkit.runtime.data.arrays import expected_outputs
from modelkit.runtime.data.settings import Preprocessing, kept_settings, read_settings
from modelkit.runtime.data.sources import Place, open_inputs
from modelkit.runtime.ports import Port
from modelkit.runtime.profile import check_offload
from modelkit.runtime.providers import CPU, label
from modelkit.runtime.session import Run, Session, Setup
from modelkit.runtime.setups import SessionArguments, one_setup
from modelkit.runtime.stepping import stepping
from modelkit.safe import safe

_SHOWN = 5
_TELL_EVERY = 2.0  # seconds between messages of progress
_SHORT = 8  # values of an array shown


def run_file(
    model: str,
    *,
    inputs: Sequence[str] = (),
    output: str | None = None,
    providers: str = "cpu",
    dims: Mapping[str, int] | None = None,
    batch: int = 1,
    post: Sequence[str] = (),
    labels: str | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    logit_scale: float | None = None,
    force: bool = False,
    resume: bool = False,
    seed: int = 0,
    **session: Unpack[SessionArguments],
) -> RunReport:
    """Run ``model`` on every sample of ``inputs``; results go to ``output`` as they come.

    ``inputs`` are files, or ``name=file`` and ``name=normal`` pairs; see ``data.sources``.
    ``preprocessing`` holds the words of ``data.settings``; ``post`` those of ``inference.post``.
    ``output`` ends in .npz, .jsonl or .parquet; an interrupted .jsonl goes on with ``resume``.

    Raises:
        UsageError, BadInput: inputs that do not fit the model.
        ProviderMissing: the provider asked for is not there, or does not carry its share.
        CannotWrite: ``output`` exists without ``force``.
    """
    path = Path(model)
    setup = one_setup(providers, session)
    settings = read_settings(dict(preprocessing or {}))
    if output is not None and Path(output).suffix.lower() not in SUFFIXES:
        raise UsageError(f"cannot write {safe(output)}", hint=f"use one of: {', '.join(SUFFIXES)}")
    if batch < 1:
        raise UsageError(f"--batch {batch} makes no sense")
    if path.is_dir():
        key = _key(path / "visual.onnx", inputs, {})
        return _clip(path, inputs, setup, settings, logit_scale, output, force, key)
    progress.step("reading")
    metadata = dict(load(path).metadata_props)
    settings = settings.over(kept_settings(metadata, path.parent))
    place = Place(settings, path.parent, batch)
    with progress.collected() as notes, setup.open(path) as opened:
        cache = shared_cache(opened) if setup.providers == (CPU,) else None

        def samples_of(ports: Sequence[Port]) -> Iterator[Sample]:
            return open_inputs(inputs, ports, place, dims=dims, seed=seed)

        kept, first, samples = _opened(samples_of, opened, cache)
        gone = cache.presents if cache is not None and kept else {}
        names = [port.name for port in opened.outputs if port.name not in gone]
        steps, known = read_steps(post, names), read_labels(labels, path.parent, metadata)
        placement = None if kept else _placement(setup, path, opened, first)
        words = {"post": list(post), "batch": batch, "settings": repr(settings), "seed": seed}
        writer = None
        if output is not None:
            key = _key(path, inputs, words)
            writer = open_writer(Path(output), key=key, force=force, resume=resume)
        run = opened.run if cache is None else stepping(opened, cache)
        loop = _Loop(run, steps, known, writer, replay=kept)
        loop.all(_with(first, samples))
        checked = _against_expected(inputs, loop.last)
    return RunReport(
        model=str(path),
        provider=label(setup.providers),
        inputs=", ".join(inputs),
        samples=loop.count,
        seconds=loop.seconds,
        shown=tuple(loop.shown) if output is None else (),
        placement=placement,
        notes=(*notes, *checked),
        written=output,
    )


class _Loop:
    """Samples through the model, one after the other; only what is shown stays in memory."""

    def __init__(
        self,
        run: Run,
        steps: Sequence[Step],
        labels: Sequence[str],
        writer: Writer | None,
        *,
        replay: bool = False,
    ) -> None:
        self.run, self.steps, self.labels, self.writer = run, steps, labels, writer
        self.replay = replay  # samples build on those before, so those are run again
        self.count = 0
        self.seconds = 0.0
        self.shown: list[dict[str, str]] = []
        self.last: dict[str, np.ndarray] = {}

    def all(self, samples: Iterator[Sample]) -> None:
        """Run every sample that an earlier run has not written."""
        try:
            self._all(samples)
        except BaseException:
            if self.writer is not None:
                self.writer.abandon()
            raise
        if self.writer is not None:
            self.writer.commit()

    def _all(self, samples: Iterator[Sample]) -> None:
        skip = self.writer.done if self.writer is not None else 0
        if skip:
            progress.note(f"{skip} samples were done by an earlier run")
        told = time.monotonic()
        for number, sample in enumerate(samples):
            if number < skip:
                if self.replay:
                    self.run(sample.feeds)
                continue
            start = time.perf_counter()
            self.last = self.run(sample.feeds)
            self.seconds += time.perf_counter() - start
            self.count += 1
            outputs = apply_steps(self.steps, self.last, self.labels)
            if self.writer is not None:
                self.writer.add(sample.name, outputs)
            if len(self.shown) < _SHOWN:
                self.shown.append({name: brief(value) for name, value in outputs.items()})
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                progress.step(f"sample {number + 1}, {self.count / self.seconds:.4g} a second")


def brief(value: Any) -> str:
    """An output in a line: type, shape and the first values, or the best classes."""
    if not isinstance(value, np.ndarray):
        rows = value if isinstance(value, list) else [value]
        return "; ".join(map(_classes, rows[:_SHOWN])) + (" ..." if len(rows) > _SHOWN else "")
    shape = ",".join(map(str, value.shape))
    kind = "str" if value.dtype.kind in "OUS" else value.dtype.name
    flat = value.reshape(-1)[:_SHORT]
    shown = " ".join(f"{v:.6g}" if value.dtype.kind == "f" else safe(str(v), 40) for v in flat)
    return f"{kind}[{shape}] {shown}{' ...' if value.size > _SHORT else ''}"


def _classes(row: Any) -> str:
    if not (isinstance(row, list) and row and isinstance(row[0], dict)):
        return safe(str(row), 200)
    named = ((each.get("label", each.get("index")), each["score"]) for each in row)
    return ", ".join(f"{safe(str(name), 60)} {score:.4f}" for name, score in named)


def _with(first: Sample, rest: Iterator[Sample]) -> Iterator[Sample]:
    yield first
    yield from rest


def _opened(
    samples_of: Callable[[Sequence[Port]], Iterator[Sample]],
    session: Session,
    cache: SharedCache | None,
) -> tuple[bool, Sample, Iterator[Sample]]:
    """Whether the run keeps the caches because samples leave them out, the first sample, the rest.

    Raises:
        UsageError, BadInput: inputs that do not fit the model.
    """
    try:
        samples = samples_of(session.inputs)
        return False, next(samples), samples
    except (UsageError, BadInput):
        if cache is None:
            raise
        missing = set(cache.presents.values())
        samples = samples_of([port for port in session.inputs if port.name not in missing])
        first = next(samples)
    progress.note("caches are kept from one sample to the next")
    return True, first, samples


def _placement(setup: Setup, path: Path, session: Session, first: Sample) -> Placement | None:
    session.check(first.feeds)
    return None if setup.providers == (CPU,) else check_offload(setup, path, first.feeds)


def _key(path: Path, inputs: Sequence[str], words: Mapping[str, Any]) -> str:
    """What tells this run's result from another's."""
    facts: list[Any] = [sha256(path) if path.is_file() else "", list(inputs), words]
    for text in inputs:
        place = Path(text.rpartition("=")[2])
        if place.is_file():
            facts.append([place.stat().st_size, place.stat().st_mtime_ns])
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _against_expected(inputs: Sequence[str], outputs: Mapping[str, np.ndarray]) -> list[str]:
    """Whether the outputs are those that a test data set keeps beside its inputs."""
    if len(inputs) != 1 or not Path(inputs[0]).is_dir():
        return []
    folder = Path(inputs[0])
    sets = [folder, *sorted(folder.glob("test_data_set_*"))]
    expected = expected_outputs(sets[-1])
    notes = []
    for value, (name, found) in zip(expected, outputs.items(), strict=False):
        if value.shape != found.shape:
            text = f"shape {list(found.shape)}, the data set keeps {list(value.shape)}"
        elif value.dtype.kind == "f":
            text = f"{float(np.abs(value - found).max(initial=0)):.2g} from what the data set keeps"
        else:
            text = f"{float(np.mean(value == found)):.2%} equal to what the data set keeps"
        notes.append(f"output '{safe(name)}': {text}")
    return notes


def _clip(
    folder: Path,
    inputs: Sequence[str],
    setup: Setup,
    settings: Preprocessing,
    logit_scale: float | None,
    output: str | None,
    force: bool,
    key: str,
) -> RunReport:
    """A CLIP folder on images and texts."""
    named = dict(text.partition("=")[::2] for text in inputs)
    if not is_clip(folder) or set(named) != {"image", "text"}:
        raise UsageError(
            f"{safe(str(folder))} is a folder, and only CLIP's visual.onnx and textual.onnx run"
            " together",
            hint="--input image=photos/ --input text=labels.txt; else name one model file",
        )
    start = time.perf_counter()
    found = run_clip(
        folder,
        named["image"],
        named["text"],
        setup,
        replace(settings),
        logit_scale=logit_scale,
    )
    if output is not None:
        writer = open_writer(Path(output), key=key, force=force, resume=False)
        writer.add(folder.name, _pairing(found))
        writer.commit()
    return RunReport(
        model=str(folder),
        provider=label(setup.providers),
        inputs=", ".join(inputs),
        samples=len(found.names),
        seconds=time.perf_counter() - start,
        shown=tuple(_best(found)) if output is None else (),
        notes=(f"logit scale {found.scale:.6g}",),
        written=output,
    )


def _pairing(found: Pairing) -> dict[str, np.ndarray]:
    return {
        "image_features": found.image_features,
        "text_features": found.text_features,
        "logits": found.logits,
        "probabilities": found.probabilities,
    }


def _best(found: Pairing) -> Iterator[dict[str, str]]:
    """Each image with its likeliest texts."""
    for name, row in zip(found.names, found.probabilities, strict=True):
        order = np.argsort(-row, kind="stable")[:_SHOWN]
        yield {name: ", ".join(f"{safe(found.texts[i], 60)} {row[i]:.4f}" for i in order)}
