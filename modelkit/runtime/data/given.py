"""Inputs that the user gave for one model, as what is proven and timed takes them."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from modelkit.errors import CheckFailed
from modelkit.model import load
from modelkit.runtime.data import read_data
from modelkit.runtime.data.settings import resolved
from modelkit.runtime.feeds import Proposal
from modelkit.runtime.session import Feeds, open_session
from modelkit.safe import safe

CHECKED = 8
"""As many samples are compared on."""


def given_samples(
    source: Path, data: str, words: Mapping[str, Any] | None = None, *, most: int
) -> tuple[tuple[Feeds, ...], str]:
    """Up to ``most`` samples of the files ``data`` for the model at ``source``; what to call them.

    ``words`` are the command line's preprocessing.

    Raises:
        CheckFailed: there is none; BadInput, UsageError: see ``runtime.data.read_data``.
    """
    path = Path(data)
    settings = resolved(words, load(source).metadata_props, source.parent)
    with open_session(source, optimize=False) as session:
        inputs = session.inputs
    found = read_data(path, inputs, tokenizer_folder=source.parent, settings=settings)
    samples = tuple(islice(found, most))
    if not samples:
        raise CheckFailed(f"{safe(str(path))} holds no sample", code="no-samples")
    return samples, f"samples of {safe(path.name)}"


def given_proposal(samples: tuple[Feeds, ...], origin: str) -> Proposal:
    """The first of ``samples`` as what a result is compared on."""
    return Proposal(tuple((feeds, n) for n, feeds in enumerate(samples[:CHECKED])), origin)
