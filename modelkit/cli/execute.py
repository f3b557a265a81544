"""Run one verb in the child process and show its report."""

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelkit import reports, worker
from modelkit.cli.options import byte_count


@dataclass(frozen=True)
class Manner:
    """How to run and how to talk about it: the options every command has."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    timeout: float | None = None
    memory_limit: str | None = None


def execute(verb: str, arguments: dict[str, Any], manner: Manner) -> Any:
    """Run ``verb``, print its report, and return it.

    Tables of writing verbs go to stderr and the written path to stdout; tables of the others are
    the result and go to stdout.  With ``--json`` stdout is the report alone.
    """
    from modelkit.cli.show import show, watching

    limit = byte_count(manner.memory_limit)
    size = sum(_size(Path(path)) for path in _paths(arguments))
    try:
        with watching(quiet=manner.quiet, verbose=manner.verbose) as listener:
            fields = worker.run(
                verb,
                arguments,
                timeout=manner.timeout,
                memory_limit=limit,
                model_bytes=size,
                listener=listener,
            )
    except KeyboardInterrupt:
        # Typer would turn it into "Aborted!" and exit 1.
        sys.exit(128 + signal.SIGINT)
    if manner.json:
        print(json.dumps(fields))
    report = reports.from_json(fields)
    if not manner.json:
        show(report, quiet=manner.quiet)
    sys.stdout.flush()
    return report


def _paths(arguments: dict[str, Any]) -> list[str]:
    values = [arguments.get(key) for key in ("source", "path", "a", "b", "against")]
    values += arguments.get("models", ())
    return [value for value in values if isinstance(value, str)]


def _size(path: Path) -> int:
    """Bytes of a model: the file and its data files, or everything in a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    if not path.is_file():
        return 0
    data = (file for file in path.parent.glob("*.data") if file.name.startswith(path.stem))
    return path.stat().st_size + sum(file.stat().st_size for file in data if file.is_file())
