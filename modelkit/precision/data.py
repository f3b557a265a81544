"""Inputs to find ranges with and to verify on: real ones, or seeded."""

from itertools import islice
from pathlib import Path

from modelkit import progress
from modelkit.errors import CheckFailed
from modelkit.model import load
from modelkit.precision.options import Options
from modelkit.precision.plan import Evidence
from modelkit.runtime.data import read_data
from modelkit.runtime.data.settings import resolved
from modelkit.runtime.feeds import Proposal, propose
from modelkit.runtime.session import open_session
from modelkit.safe import safe

_MOST = 32
_CHECKED = 8
_SEEDED = 4
HEADROOM = 4.0
"""How far real inputs may exceed what seeded ones show."""


def read(source: Path, options: Options, seed: int = 0) -> tuple[Evidence, Proposal]:
    """Inputs for the model at ``source``: the ones ``options`` name, or generated ones.

    Raises:
        CheckFailed: no sample in the data, or no generated inputs run.
        BadInput, UsageError: see ``runtime.data.read_data``.
    """
    progress.step("choosing inputs")
    with open_session(source, optimize=False) as session:
        if options.calib_data is None:
            found = propose(load(source), session.run, seed=seed, count=_SEEDED)
            samples = tuple(feeds for feeds, _ in found.trials)
            return Evidence(samples, HEADROOM, f"{found.source} inputs"), found
        inputs = session.inputs
    path = Path(options.calib_data)
    settings = resolved(options.preprocessing, load(source).metadata_props, source.parent)
    data = read_data(path, inputs, tokenizer_folder=source.parent, settings=settings)
    samples = tuple(islice(data, _MOST))
    if not samples:
        raise CheckFailed(f"{safe(str(path))} holds no sample", code="no-samples")
    origin = f"samples of {safe(path.name)}"
    trials = tuple((feeds, number) for number, feeds in enumerate(samples[:_CHECKED]))
    return Evidence(samples, 1.0, origin), Proposal(trials, origin)
