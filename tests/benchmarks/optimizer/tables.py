"""The rows as Markdown: what stands out, then nodes, latency, cost and errors of all."""

from collections.abc import Callable, Sequence
from itertools import groupby

from tests.benchmarks.optimizer.contenders import CONTENDERS, REFERENCE, SLIMMERS
from tests.benchmarks.optimizer.results import EXPORTS, Row

ERROR_GOAL = 1e-5
_SURE = 0.99
_EXPORTS_GOAL = 0.97
_SIGNS = (  # attention, norms, Gelu, rotary embedding, masks, shapes worked out at each run
    *("Softmax", "IsNaN", "ReduceMean", "Pow", "Erf", "Tanh", "Sigmoid", "Neg", "Where"),
    *("Expand", "Shape", "Gather", "Cast", "Transpose", "Reshape"),
)


def markdown(rows: Sequence[Row], machine: dict[str, str], *, threads: int = 1) -> str:
    """The whole report."""
    time = "CPU time, 1 thread" if threads == 1 else f"wall time, {threads} threads"
    said = [f"- {name}: {value}" for name, value in machine.items()]
    names = [each.name for each in CONTENDERS]
    shown = ["original", *(name for name in names if any(row.contender == name for row in rows))]
    parts = [
        "# Optimizers on the zoo",
        "\n".join(said),
        "## What stands out",
        "\n".join(f"- {line}" for line in findings(rows)) or "Nothing.",
        "## Nodes left",
        _matrix(rows, shown, lambda row: str(row.nodes)),
        "## Latency",
        f"Old over new {time}, against {REFERENCE}; above 1 is faster."
        " In brackets the 95 % interval.",
        _matrix([row for row in rows if row.latency], shown[1:], _latency),
        "## Both exporters",
        "Optimized by modelkit-all: time of the dynamo export over that of the TorchScript one;"
        " 1 is the goal.",
        "\n".join(
            f"- {row.exhibit.split('.')[0]}: {_latency(row)}"
            for row in rows
            if row.contender == EXPORTS
        )
        or "Not raced.",
        "## What modelkit-all leaves",
        "Operators that tell of something not fused; a classifier's last Softmax is none.",
        _leftovers(rows),
        "## Relative error",
        "Run as users run it, against the original with optimizations off.",
        _matrix(rows, shown[1:], lambda row: "?" if row.error is None else f"{row.error:.1e}"),
        "## Cost of optimizing",
        "CPU seconds and peak memory of the whole process.",
        _matrix(rows, shown[1:], lambda row: f"{row.cpu_seconds:.1f} s, {row.peak_mb:.0f} MB"),
        "## Failures",
        "\n".join(f"- {row.exhibit}, {row.contender}: {row.failure}" for row in rows if row.failure)
        or "None.",
    ]
    return "\n\n".join(parts) + "\n"


def _latency(row: Row) -> str:
    if row.latency is None:
        return "-"
    center, low, high = row.latency
    return f"{center:.3f} ({low:.3f} to {high:.3f})"


def _matrix(rows: Sequence[Row], columns: Sequence[str], cell: Callable[[Row], str]) -> str:
    """One line an exhibit; a failed contender's cell says so."""
    lines = [f"| model | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for exhibit, found in groupby(rows, key=lambda row: row.exhibit):
        by_name = {row.contender: row for row in found}
        if "export" in by_name:
            lines.append(f"| {exhibit} | no export {'|' * len(columns)}")
            continue
        cells = []
        for name in columns:
            row = by_name.get(name)
            text = "" if row is None else "failed" if row.failure else cell(row)
            cells.append(text)
        lines.append(f"| {exhibit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _leftovers(rows: Sequence[Row]) -> str:
    lines = ["| model | nodes | of these |", "|---|---|---|"]
    for row in rows:
        if row.contender != "modelkit-all" or row.failure:
            continue
        left = [f"{row.operators[name]} {name}" for name in _SIGNS if name in row.operators]
        lines.append(f"| {row.exhibit} | {row.nodes} | {', '.join(left)} |")
    return "\n".join(lines)


def findings(rows: Sequence[Row]) -> list[str]:
    """Where modelkit fails, errs, leaves more nodes than the best slimmer, or is surely slower."""
    found = []
    for exhibit, group in groupby(rows, key=lambda row: row.exhibit):
        by_name = {row.contender: row for row in group}
        for row in by_name.values():
            if row.contender.startswith("modelkit"):
                found += _of_modelkit(row)
            if row.contender == EXPORTS and row.latency and row.latency[2] < _EXPORTS_GOAL:
                found.append(f"{exhibit}: optimized, the dynamo export is faster, {_latency(row)}")
        basic = by_name.get("modelkit-basic")
        peers = [by_name[name] for name in SLIMMERS if name in by_name]
        sound = [row for row in peers if not row.failure]
        if basic and not basic.failure and sound:
            best = min(sound, key=lambda row: row.nodes)
            if best.nodes < basic.nodes:
                found.append(
                    f"{exhibit}: basic leaves {basic.nodes} nodes,"
                    f" {best.contender} {best.nodes} ({difference(basic, best)})"
                )
    return found


def _of_modelkit(row: Row) -> list[str]:
    if row.failure:
        return [f"{row.exhibit}: {row.contender} fails: {row.failure}"]
    found = []
    if row.error is not None and row.error > ERROR_GOAL:
        found.append(f"{row.exhibit}: {row.contender} errs by {row.error:.1e}")
    if row.latency and row.latency[2] < _SURE:
        found.append(f"{row.exhibit}: {row.contender} is slower, {_latency(row)}")
    return found


def difference(ours: Row, theirs: Row) -> str:
    """Operators of which one has more than the other, as "we keep 3 Cast; it keeps 1 Gemm"."""
    more: list[str] = []
    less: list[str] = []
    for name in sorted({*ours.operators, *theirs.operators}):
        count = ours.operators.get(name, 0) - theirs.operators.get(name, 0)
        if count:
            (more if count > 0 else less).append(f"{abs(count)} {name}")
    return f"we keep {', '.join(more) or 'none'} more; it keeps {', '.join(less) or 'none'} more"
