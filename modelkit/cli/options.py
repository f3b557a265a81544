"""Options that several commands share, each with one meaning everywhere."""

from typing import Annotated

import typer

from modelkit.errors import UsageError
from modelkit.safe import safe

Source = Annotated[str, typer.Argument(help="The model to read", show_default=False)]
Output = Annotated[
    str | None,
    typer.Option("-o", "--output", help="Where to write; default: beside the input"),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing output")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Do and check everything, write nothing")]
Verify = Annotated[
    bool,
    typer.Option(
        " /--no-verify",
        help="Write without comparing result and source (unsafe)",
        show_default=False,
    ),
]
Measure = Annotated[
    bool,
    typer.Option(
        " /--no-measure",
        help="Skip the speed gate (same input, same bytes)",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the report as one JSON object")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print results and errors only")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print every step")]
Timeout = Annotated[float | None, typer.Option(help="Give up after this many seconds", min=0.001)]
MemoryLimit = Annotated[
    str | None,
    typer.Option(help="Largest memory of the worker, as 4GB; default max(4 GB, 3 x model)"),
]
CustomOps = Annotated[
    list[str] | None,
    typer.Option(help="Library of operators, absolute path; it runs code; repeatable"),
]
Seed = Annotated[int, typer.Option(help="Seed of the generated inputs", min=0)]
Dim = Annotated[
    list[str] | None,
    typer.Option(help="Fix a dynamic axis of the generated inputs, as batch=1; repeatable"),
]
Providers = Annotated[
    str, typer.Option(help="Execution providers; comma = one row each, + = priority list")
]
AllowFallback = Annotated[
    bool, typer.Option("--allow-fallback", help="Let a missing provider fall back to the CPU")
]
IntraOp = Annotated[int, typer.Option("--intra-op", help="Threads inside an operator", min=1)]
RunsOn = Annotated[
    int | None,
    typer.Option(
        "--intra-op",
        help="Threads it will run on; default: fast on 1, not slower on all cores",
        min=1,
    ),
]

Report = Annotated[
    str | None, typer.Option("--report", help="Write the report as an HTML page too, offline")
]
Dims = Annotated[
    list[str] | None,
    typer.Option("--dim", help="Lengths of a dynamic axis, as batch=1,8,32; repeatable"),
]

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def dims(pairs: list[str] | None) -> dict[str, int]:
    """``["batch=1", "seq=128"]`` as a mapping; each value is a length >= 0."""
    found = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not (name and equals and value.isdecimal()):
            raise UsageError(
                f"--dim {safe(pair)} is not NAME=LENGTH", hint="write it as --dim batch=1"
            )
        found[name] = int(value)
    return found


def sweeps(pairs: list[str] | None) -> dict[str, list[int]]:
    """``["batch=1,8", "seq=128"]`` as a mapping of axis to lengths >= 0."""
    found: dict[str, list[int]] = {}
    for pair in pairs or ():
        name, equals, values = pair.partition("=")
        lengths = values.split(",")
        if not (name and equals and all(length.isdecimal() for length in lengths)):
            raise UsageError(
                f"--dim {safe(pair)} is not NAME=LENGTHS", hint="write it as --dim batch=1,8,32"
            )
        found[name] = list(dict.fromkeys(map(int, lengths)))
    return found


def byte_count(text: str | None) -> int | None:
    """``"4GB"``, ``"512M"`` or ``"1000000"`` in bytes."""
    if text is None:
        return None
    number = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in ("K", "M", "G", "T") else ""
    try:
        count = int(float(number.removesuffix(unit)) * _UNITS[unit])
    except (ValueError, OverflowError):
        count = 0
    if count <= 0:
        raise UsageError(
            f"--memory-limit {safe(text)} is not a size", hint="write it as --memory-limit 4GB"
        )
    return count


def listed(values: list[str] | None) -> list[str]:
    """The names in a repeatable option, each of which may be several with commas between."""
    return [part for value in values or [] for part in value.split(",") if part]
