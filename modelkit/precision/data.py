"""Inputs to find ranges with and to verify on: real ones, or seeded."""

from pathlib import Path

from modelkit import progress
from modelkit.model import load
from modelkit.precision.options import Options
from modelkit.precision.plan import Evidence
from modelkit.runtime.data.given import given_proposal, given_samples
from modelkit.runtime.feeds import Proposal, propose
from modelkit.runtime.session import open_session

_MOST = 32
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
    if options.calib_data is None:
        with open_session(source, optimize=False) as session:
            found = propose(load(source), session.run, seed=seed, count=_SEEDED)
        samples = tuple(feeds for feeds, _ in found.trials)
        return Evidence(samples, HEADROOM, f"{found.source} inputs"), found
    samples, origin = given_samples(source, options.calib_data, options.preprocessing, most=_MOST)
    return Evidence(samples, 1.0, origin), given_proposal(samples, origin)
