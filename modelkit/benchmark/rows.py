"""The rows of a table: every model on every list of providers, and the source framework."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelkit.errors import ModelkitError, ProviderMissing, UsageError
from modelkit.model import facts, load
from modelkit.reports import BenchRow, Interval, Placement
from modelkit.runtime import bench
from modelkit.runtime.profile import check_offload
from modelkit.runtime.providers import CPU, label
from modelkit.runtime.session import Feeds, Run, Setup
from modelkit.safe import safe

EAGER = "eager"


@dataclass(frozen=True)
class Row:
    """One candidate; ``path`` and ``setup`` are None for the source framework."""

    candidate: bench.Candidate
    provider: str
    bytes: int
    path: Path | None = None
    setup: Setup | None = None
    placement: Placement | None = None

    @property
    def on_cpu(self) -> bool:
        """Whether all its work is this process's CPU time."""
        return self.setup is None or self.setup.providers == (CPU,)

    @contextmanager
    def runner(self) -> Iterator[Run]:
        """The row as a function that gives its outputs."""
        if self.path is None or self.setup is None:
            with self.candidate.open() as run:
                yield run
            return
        with self.setup.open(self.path) as session:
            yield session.run


def open_rows(
    paths: Sequence[Path],
    against: str | None,
    setups: Sequence[Setup],
    feeds: Feeds,
    *,
    io_binding: bool = False,
) -> tuple[list[Row], list[BenchRow]]:
    """The rows that run, tried once, and those that do not with the reason.

    Raises:
        ProviderMissing: no row runs at all.
        ModelkitError: a row on the CPU does not.
    """
    rows: list[Row] = []
    failed: list[BenchRow] = []
    if against is not None:
        rows.append(_framework(against, setups[0].threads, feeds))
    names = [path.name for path in paths]
    for path in paths:
        name = path.name if names.count(path.name) == 1 else str(path)
        size = facts(load(path), path).bytes
        for setup in setups:
            candidate = bench.onnx_candidate(path, name=name, setup=setup, io_binding=io_binding)
            shown = label(setup.providers)
            try:
                placement = _try(path, setup, feeds)
            except ModelkitError as error:
                if setup.providers == (CPU,) or isinstance(error, UsageError):
                    raise
                failed.append(_missing(name, shown, size, error))
                continue
            rows.append(Row(candidate, shown, size, path, setup, placement))
    if not any(row.path for row in rows):
        raise ProviderMissing("no row could be run", cause=failed[0].error)
    return rows, failed


def _try(path: Path, setup: Setup, feeds: Feeds) -> Placement | None:
    """Run once, with every check, so that nothing goes wrong between the clocks."""
    with setup.open(path) as session:
        try:
            session.check(feeds)
        except UsageError as error:
            raise UsageError(
                f"{safe(str(path))} does not take the inputs of the first model",
                cause=error.message,
                hint="time models of the same inputs together",
                code="other-inputs",
            ) from None
        session.run(feeds)
    return None if setup.providers == (CPU,) else check_offload(setup, path, feeds)


def _framework(source: str, threads: int, feeds: Feeds) -> Row:
    from modelkit.convert.reference import reference

    found = reference(source, feeds, threads=threads)

    @contextmanager
    def opened() -> Iterator[Run]:
        yield found.run

    return Row(bench.Candidate(found.framework, opened, spins=threads != 1), EAGER, found.bytes)


def _missing(name: str, provider: str, size: int, error: ModelkitError) -> BenchRow:
    told = f"{error.message} ({error.cause})" if error.cause else error.message
    return BenchRow(name, provider, size, 0, 0, 0, 0, 0, Interval(0, 0, 0), 0, 0, 0, 0, error=told)
