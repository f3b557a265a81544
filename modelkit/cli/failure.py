"""Print an error for the reader: what, why, what next; the same fields as JSON with ``--json``."""

import json
import sys

from modelkit.errors import ModelkitError
from modelkit.safe import safe

# Messages are made safe where they are built; this limit only guards against runaway length.
LONGEST = 2000


def print_error(error: ModelkitError, *, as_json: bool) -> None:
    """Write ``error`` to stderr as text of one to three lines, or as one JSON object."""
    if as_json:
        print(json.dumps({"error": error.fields()}), file=sys.stderr)
        return
    lines = [f"error: {safe(error.message, LONGEST)}"]
    if error.cause:
        lines += _labelled("cause", error.cause)
    if error.hint:
        lines += _labelled("help", error.hint)
    print("\n".join(lines), file=sys.stderr)


def _labelled(label: str, text: str) -> list[str]:
    first, *rest = [safe(line, LONGEST) for line in text.splitlines()] or [""]
    return [f"{label}: {first}", *(f"       {line}" for line in rest)]
