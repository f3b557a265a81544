"""What a user typed about sessions, as one :class:`Setup` a row of providers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from modelkit.errors import UsageError
from modelkit.runtime.provider_options import read_options
from modelkit.runtime.providers import parse
from modelkit.runtime.session import Setup, settle, use_custom_ops
from modelkit.runtime.tensorrt import read_profile
from modelkit.safe import safe


class SessionArguments(TypedDict, total=False):
    """The words of the command line; see :class:`Setup` for what they mean."""

    threads: int
    inter_op: int
    graph_level: str
    provider_option: Sequence[str]
    session_option: Sequence[str]
    custom_ops: Sequence[str]
    allow_fallback: bool
    min_offload: float
    trt_shape: Sequence[str]
    cache: str | None


def setups(providers: str = "cpu", given: SessionArguments | None = None) -> tuple[Setup, ...]:
    """One setup for each row of ``providers``, as ``"cpu,tensorrt+cuda"``.

    Raises:
        UsageError: a provider, option or number that makes no sense.
    """
    words = given or {}
    rows = parse(providers)
    share = words.get("min_offload", 0.9)
    if not 0 <= share <= 1:
        raise UsageError(f"--min-offload {share} makes no sense", hint="give a share, as 0.9")
    cache = words.get("cache")
    # What prepares a run, as reading inputs and measuring memory, opens the model too.
    use_custom_ops(words.get("custom_ops", ()))
    entries = dict(map(_entry, words.get("session_option", ())))
    settle(entries)
    common = Setup(
        provider_options=read_options(words.get("provider_option", ()), rows),
        threads=words.get("threads", 1),
        inter_op=words.get("inter_op", 1),
        graph_level=words.get("graph_level", "all"),
        session_options=entries,
        custom_ops=tuple(map(Path, words.get("custom_ops", ()))),
        allow_fallback=words.get("allow_fallback", False),
        min_offload=share,
        trt_shapes=read_profile(words.get("trt_shape", ())),
        cache=Path(cache) if cache else None,
    )
    return tuple(replace(common, providers=row) for row in rows)


def one_setup(providers: str = "cpu", given: SessionArguments | None = None) -> Setup:
    """The setup of a single list of providers.

    Raises:
        UsageError: as :func:`setups`, or several rows.
    """
    found = setups(providers, given)
    if len(found) > 1:
        raise UsageError(
            f"--providers {safe(providers)} are several rows, and one model runs in one place",
            hint="join a list of preferences by +, as cuda+cpu; `bench` takes rows",
        )
    return found[0]


def _entry(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (equals and key):
        raise UsageError(
            f"--session-option {safe(text)} is not key=value",
            hint="write it as --session-option session.intra_op.allow_spinning=0",
        )
    return key, value
