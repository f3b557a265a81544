"""Run one verb in the child process and show its report."""

import json
import math
import signal
import sys
from pathlib import Path
from typing import Any

import typer

from modelkit import reports, worker
from modelkit.cli.groups import Manner
from modelkit.cli.options import byte_count

_GRAPH = 256 << 20
_DATA = 16 << 20


def execute(
    verb: str,
    arguments: dict[str, Any],
    manner: Manner,
    *,
    page: str | None = None,
    copies: int = 1,
) -> Any:
    """Run ``verb``, print its report, and return it; ``page`` is an HTML file to write it to.

    ``copies`` tells how many times as much memory as usual the model may take.

    Tables of writing verbs go to stderr and the written path to stdout; tables of the others are
    the result and go to stdout.  With ``--json`` stdout is the report alone.
    """
    from modelkit.cli.show import show, watching

    if page is not None:
        from modelkit.cli.page import check_page

        check_page(Path(page))
    limit = byte_count(manner.memory_limit)
    size = sum(_size(Path(path)) for path in _paths(arguments))
    try:
        with watching(quiet=manner.quiet, verbose=manner.verbose) as listener:
            fields = worker.run(
                verb,
                arguments,
                timeout=manner.timeout,
                memory_limit=limit,
                model_bytes=size * copies,
                listener=listener,
            )
    except KeyboardInterrupt:
        # Typer would turn it into "Aborted!" and exit 1.
        sys.exit(128 + signal.SIGINT)
    if manner.json:
        print(json.dumps(_finite(fields), allow_nan=False))
    report = reports.from_json(fields)
    if not manner.json:
        show(report, quiet=manner.quiet)
    if page is not None:
        from modelkit.cli.page import write_page

        write_page(report, Path(page))
    sys.stdout.flush()
    return report


def listing(verb: str) -> None:
    """Show what ``verb`` lists, for an eager option: beside it only ``--json`` is looked for."""
    execute(verb, {}, Manner(json="--json" in sys.argv))
    raise typer.Exit


def _finite(value: Any) -> Any:
    """``value`` with null for NaN and infinity, which JSON (RFC 8259) cannot write."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _paths(arguments: dict[str, Any]) -> list[str]:
    values = [arguments.get(key) for key in ("source", "path", "model", "a", "b", "against")]
    values += arguments.get("models", ())
    return [value for value in values if isinstance(value, str)]


def _size(path: Path) -> int:
    """Bytes of a model: the file and its data files or shards, or everything in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    if not path.is_file():
        return 0
    size = path.stat().st_size
    if size > _GRAPH:
        return size
    # Names of data files stand in the model; what is read here for good or ill sets a limit only.
    text = path.read_bytes()
    beside = (file for file in path.parent.iterdir() if file != path and file.is_file())
    large = ((file.name, file.stat().st_size) for file in beside)
    return size + sum(bytes_ for name, bytes_ in large if bytes_ > _DATA and name.encode() in text)
