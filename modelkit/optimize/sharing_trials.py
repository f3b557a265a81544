"""What a decoder with shared caches is tried on: steps and prompts whose caches are real ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from modelkit import progress
from modelkit.errors import CheckFailed, UsageError
from modelkit.model import Model, SharedCache
from modelkit.runtime.binding import to_float, to_int8
from modelkit.runtime.data import read_data
from modelkit.runtime.data.settings import resolved
from modelkit.runtime.feeds import Proposal, propose
from modelkit.runtime.session import Feeds, Session, open_session
from modelkit.safe import safe

_CASES = ((1, 1, 60), (3, 1, 17), (1, 5, 11), (1, 6, 0), (3, 4, 0))
"""Batch, new tokens, filled places; more tokens than one on a filled cache want batch 1."""
_PROMPTS = ((4, 64, 0), (1, 96, 0))
TYPES = ("float32", "int8")


def check_type(kind: str, data: str | None) -> None:
    """Refuse what has no meaning.

    Raises:
        UsageError: an unknown type, or data without int8.
    """
    if kind not in TYPES:
        raise UsageError(
            f"--cache-type {safe(kind)} is unknown", hint=f"one of: {', '.join(TYPES)}"
        )
    if data is not None and kind != "int8":
        raise UsageError("--calib-data is for --cache-type int8", hint="leave it out")


@dataclass(frozen=True)
class Reference:
    """The source as a function of the result's inputs, which differ where caches are int8."""

    source: Session
    cache: SharedCache

    def __call__(self, feeds: Feeds) -> Feeds:
        """Outputs in the result's types."""
        wide = dict(feeds)
        for name, scales in self.cache.scales.items():
            wide[name] = to_float(feeds[name], scales)
        found = self.source.run(wide)
        for present, past in self.cache.presents.items():
            if past in self.cache.scales:
                found[present] = to_int8(found[present], self.cache.scales[past])
        return found


@dataclass(frozen=True)
class Job:
    """The decoder at ``path`` and the caches that are to be shared."""

    path: Path
    model: Model
    cache: SharedCache
    seed: int = 0

    @contextmanager
    def reference(self) -> Iterator[Reference]:
        """The source, opened without optimizations."""
        with open_session(self.path, optimize=False) as session:
            yield Reference(session, self.cache)

    def proposal(
        self,
        source: Session,
        cases: Sequence[tuple[int, int, int]] = _CASES,
        *,
        typed: bool = True,
    ) -> Proposal:
        """Steps and prompts with the lengths of ``cases``, some of them padded in front.

        Filled caches are what the source makes of a prompt; ``typed`` puts them into the type that
        they are kept in.

        Raises:
            CheckFailed: the source runs on none.
        """
        trials: list[tuple[Feeds, int]] = []
        for number, (batch, tokens, filled) in enumerate(cases):
            seed = self.seed + number
            feeds, origin = self._feeds(source, batch, tokens, filled, seed)
            if filled:
                prompt, _ = self._feeds(source, batch, filled, 0, seed + 1000)
                made = source.run(prompt)
                feeds |= {past: made[present] for present, past in self.cache.presents.items()}
            if batch > 1 and tokens == 1:
                feeds[self.cache.mask][-1, :3] = 0
            if typed:
                for name, scales in self.cache.scales.items():
                    feeds[name] = to_int8(feeds[name], scales)
            trials.append((feeds, seed))
        return Proposal(tuple(trials), origin)

    def scales(self, data: str | None) -> tuple[dict[str, list[float]], str]:
        """A scale for each channel of each cache, and what they come from.

        Raises:
            BadInput, UsageError: see ``runtime.data.read_data``.
            CheckFailed: no sample, or a cache holds NaN or infinity.
        """
        progress.step("ranges of the caches")
        peaks: dict[str, np.ndarray] = {}
        count = 0
        with open_session(self.path, optimize=False) as session:
            for feeds in self._samples(session, data):
                made = session.run(feeds)
                count += 1
                for present, past in self.cache.presents.items():
                    value = made[present]
                    if not np.isfinite(value).all():
                        raise _not_finite(present)
                    peak = np.abs(value).max(axis=(0, 2), initial=0)
                    peaks[past] = np.maximum(peaks.get(past, 0), peak)
        if not count:
            raise CheckFailed("the calibration data holds no sample", code="no-samples")
        found = {
            name: np.where(peak > 0, peak / 127, 1).reshape(-1).tolist()
            for name, peak in peaks.items()
        }
        if data is not None:
            return found, f"caches in int8, on scales of {count} samples"
        note = (
            "CACHES IN INT8 ON SCALES OF GENERATED TOKENS: real ones may reach further; give"
            " --calib-data before you rely on it"
        )
        progress.warn(note)
        return found, note

    def _samples(self, session: Session, data: str | None) -> Iterator[Feeds]:
        if data is None:
            for number, (batch, tokens, filled) in enumerate(_PROMPTS):
                yield self._feeds(session, batch, tokens, filled, self.seed + 500 + number)[0]
            return
        folder = self.path.parent
        settings = resolved({}, self.model.metadata_props, folder)
        yield from read_data(Path(data), session.inputs, tokenizer_folder=folder, settings=settings)

    def _feeds(
        self, source: Session, batch: int, tokens: int, filled: int, seed: int
    ) -> tuple[Feeds, str]:
        ports = {value.name: value for value in self.model.graph.inputs}
        past = ports[next(iter(self.cache.presents.values()))]
        mask, ids = ports[self.cache.mask], ports[self.cache.tokens]
        lengths = {
            _axis(mask, 0): batch,
            _axis(past, 0): batch,
            _axis(past, 2): filled,
            _axis(ids, 1): tokens,
            _axis(mask, 1): tokens + filled,
        }
        dims = {name: length for name, length in lengths.items() if name is not None}
        found = propose(self.model, source.run, dims=dims, seed=seed, count=1)
        return dict(found.trials[0][0]), found.source


def _axis(value: ir.Value, axis: int) -> str | None:
    assert value.shape is not None
    dim = value.shape[axis]
    return dim.value if isinstance(dim, ir.SymbolicDim) else None


def _not_finite(name: str) -> CheckFailed:
    return CheckFailed(
        f"the cache '{safe(name)}' holds NaN or infinity",
        cause="no scale can be found for it",
        hint="--cache-type float32",
        code="not-finite",
    )
