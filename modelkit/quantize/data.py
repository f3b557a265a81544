"""Samples to calibrate on, and others to check the result with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from modelkit import progress
from modelkit.errors import CheckFailed
from modelkit.model import load
from modelkit.quantize.observe import Samples
from modelkit.quantize.options import Options
from modelkit.quantize.user_samples import is_module, user_samples
from modelkit.runtime.data import read_data
from modelkit.runtime.data.given import CHECKED, given_proposal
from modelkit.runtime.data.rows import in_rows, separable
from modelkit.runtime.data.settings import resolved
from modelkit.runtime.feeds import Proposal, propose
from modelkit.runtime.ports import Port
from modelkit.runtime.session import Feeds, open_session
from modelkit.safe import safe

_FEWEST = 48
_ENOUGH_TO_SHARE = 64
_HELD = 16
_EVERY = 8
_RANDOM = 64


@dataclass(frozen=True)
class Data:
    """``samples`` start over with every call; ``check`` holds some that ``samples`` leave out."""

    samples: Samples
    count: int
    check: Proposal
    notes: tuple[str, ...] = ()


def read(source: Path, options: Options, seed: int = 0) -> Data:
    """The data that ``options`` name for the model at ``source``.

    Where all is one sample, its rows are samples of their own if the model takes them apart.
    From 64 samples on, one in eight, 16 at most, is kept away from calibration for the check.

    Raises:
        BadInput, UsageError: see ``runtime.data.read_data``.
        CheckFailed: no sample in it.
    """
    if options.calib_data is None:
        return _random(source, seed)
    path = Path(options.calib_data)
    with open_session(source, optimize=False) as session:
        files = _opened(options.calib_data, source, options, session.inputs, "--calib-data")
        inputs = session.inputs
        head = list(islice(files(), 2))
        by_rows = len(head) == 1 and separable(head[0], inputs, session.run)

    def whole() -> Iterator[Feeds]:
        return chain.from_iterable(map(in_rows, files())) if by_rows else files()

    count, held = 0, []
    for number, feeds in enumerate(whole()):
        if _is_held(number):
            held.append((feeds, number))
        elif number == 0:
            first = feeds
        count += 1
    if not count:
        raise CheckFailed(f"{safe(str(path))} holds no sample", code="no-samples")
    shared = count >= _ENOUGH_TO_SHARE
    notes = [] if count >= _FEWEST else [_few(count)]
    for text in notes:
        progress.warn(text)

    def rest() -> Iterator[Feeds]:
        return (feeds for n, feeds in enumerate(whole()) if not (shared and _is_held(n)))

    trials = tuple(held) or ((first, 0),)
    name = safe(path.name)
    origin = f"samples of {name} kept from calibration" if shared else f"samples of {name}"
    return Data(rest, count - shared * len(held), Proposal(trials, origin), tuple(notes))


def evaluation(source: Path, options: Options) -> tuple[Samples, str]:
    """The samples of ``options.eval_data``, and what to call them.

    Raises:
        BadInput, UsageError: see ``runtime.data.read_data``.
    """
    assert options.eval_data is not None
    with open_session(source, optimize=False) as session:
        samples = _opened(options.eval_data, source, options, session.inputs, "--eval-data")
    return samples, safe(Path(options.eval_data).name)


def compared_on(source: Path, options: Options) -> Proposal:
    """The first samples of ``options.eval_data``, for a result to be compared on.

    Raises:
        CheckFailed: it holds none; BadInput, UsageError: see ``runtime.data.read_data``.
    """
    samples, name = evaluation(source, options)
    first = tuple(islice(samples(), CHECKED))
    if not first:
        raise CheckFailed(f"{name} holds no sample", code="no-samples")
    return given_proposal(first, f"samples of {name}")


def _opened(
    text: str, source: Path, options: Options, inputs: Sequence[Port], option: str
) -> Samples:
    """The samples that ``text`` names, a file or what a Python module holds."""
    if is_module(text):
        return user_samples(text, inputs, option)
    settings = resolved(options.preprocessing, load(source).metadata_props, source.parent)

    def samples() -> Iterator[Feeds]:
        return read_data(Path(text), inputs, tokenizer_folder=source.parent, settings=settings)

    return samples


def _is_held(number: int) -> bool:
    return number % _EVERY == _EVERY - 1 and number < _EVERY * _HELD


def _few(count: int) -> str:
    return (
        f"only {count} calibration samples; with fewer than {_FEWEST}, ranges are found by chance"
    )


def _random(source: Path, seed: int) -> Data:
    with open_session(source, optimize=False) as session:
        found = propose(load(source), session.run, seed=seed, count=_RANDOM + _HELD // 2)
    text = (
        "CALIBRATED ON RANDOM DATA: ranges of real inputs may differ, and the accuracy stated here"
        " is that on random inputs; give --calib-data before you rely on it"
    )
    progress.warn(text)
    feeds = [feeds for feeds, _ in found.trials[:_RANDOM]]
    check = Proposal(found.trials[_RANDOM:], f"{found.source}, random")
    return Data(lambda: iter(feeds), len(feeds), check, (text,))
