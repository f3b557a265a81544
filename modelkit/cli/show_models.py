"""The views of the verbs that look at models and machines without writing."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from modelkit import reports
from modelkit.cli.figures import byte_size, count, decibels, milliseconds, operations, scientific
from modelkit.cli.render import lines, notes, row, table
from modelkit.safe import safe

_MOST = 40


def files(*found: reports.FileFacts) -> Table:
    """One row a file."""
    made = table("", "file", "size", "nodes", "parameters", "opset", "IR", right=1)
    for file in found:
        size, parameters = byte_size(file.bytes), count(file.parameters)
        opset = file.opset.get("", "-")
        row(made, file.path, size, file.nodes, parameters, opset, file.ir_version)
    return made


@lines.register
def _(report: reports.CompareReport) -> list[RenderableType]:
    title = f"{report.samples} samples, {report.inputs}"
    columns = ("output", "max abs", "relative", "SQNR", "cosine", "agreement", "top-10 overlap")
    made = table(title, *columns)
    for output in report.outputs:
        row(
            made,
            safe(output.output, 60),
            scientific(output.max_abs),
            scientific(output.relative),
            decibels(output.sqnr),
            f"{output.cosine:.5f}",
            "-" if output.agreement is None else f"{output.agreement:.2%}",
            "-" if output.top10 is None else f"{output.top10:.1%}",
        )
    parts: list[RenderableType] = [made]
    for score in report.scores:
        word = "accuracy" if score.labelled else "agreement"
        text = f"{word} by {safe(score.metric, 80)}, {score.samples} rows:"
        values = f"A {score.a:.4f}, B {score.b:.4f}" if score.labelled else f"{score.b:.4f}"
        parts.append(Text(f"{text} {values}"))
    if report.divergence is not None:
        parts += _divergence(report.divergence)
    style = "green" if report.passed else "bold red"
    verdict = f"{'passed' if report.passed else 'FAILED'}: {report.criterion}"
    return [*parts, Text(verdict, style=style), *notes(report.notes)]


def _divergence(found: reports.Divergence) -> list[RenderableType]:
    how = f"{found.compared} tensors compared in {found.sessions} runs of both models"
    if not found.tensor:
        return [Text(f"no tensor that both have differs; {how}")]
    value = decibels(found.value) if found.metric == "sqnr" else scientific(found.value)
    text = f"first difference: '{safe(found.tensor)}' of {safe(found.producer)}: {value}; {how}"
    before = [
        Text(f"  its input '{safe(name, 80)}': {scientific(error)}", style="dim")
        for name, error in found.inputs.items()
    ]
    return [Text(text, style="yellow"), *before]


@lines.register
def _(report: reports.InspectReport) -> list[RenderableType]:
    if report.graph:
        tail = f"page of {report.pages}; --page N shows the next"
        texts: list[RenderableType] = [Text(line) for line in report.graph]
        return [*texts, Text(tail, style="dim")] if report.pages > 1 else texts
    parts: list[RenderableType] = [files(report.file)]
    if report.producer:
        parts.append(Text(f"producer: {safe(report.producer)}"))
    made = table("inputs and outputs", "", "name", "type", "shape", right=4)
    for kind, values in (("input", report.inputs), ("output", report.outputs)):
        for value in values:
            shape = "[" + ", ".join(safe(str(dim), 40) for dim in value.shape) + "]"
            row(made, kind, safe(value.name, 80), value.dtype, shape)
    operators = ", ".join(f"{safe(name, 60)} {number}" for name, number in report.operators.items())
    weights = ", ".join(f"{name} {byte_size(size)}" for name, size in report.bytes_by_dtype.items())
    runtime = report.file.lowest_runtime
    parts += [
        made,
        Text(f"operators: {operators or 'none'}"),
        Text(f"weights: {weights or 'none'}"),
    ]
    if runtime:
        parts.append(Text(f"runs from ONNX Runtime {runtime} on"))
    parts += _costs(report.costs) if report.costs is not None else []
    if report.largest:
        largest = table("largest tensors", "name", "type and shape", "size", right=2)
        for name, kind, size in report.largest:
            row(largest, safe(name, 80), kind, byte_size(size))
        parts.append(largest)
    parts += [Text(f"history: {safe(step, 400)}") for step in report.history]
    parts += [Text(f"lint: {safe(finding, 400)}", style="yellow") for finding in report.lint]
    return parts


def _costs(found: reports.Costs) -> list[RenderableType]:
    at = " ".join(f"{safe(name, 40)}={length}" for name, length in found.dims.items())
    text = f"a run{' at ' + at if at else ''}: {operations(found.flops)}"
    text += f", activations up to {byte_size(found.activation_bytes)}"
    text += f" at {safe(found.peak_node, 80)}" if found.peak_node else ""
    parts: list[RenderableType] = [Text(text)]
    most = [(name, value) for name, value in found.by_operator.items() if value][:5]
    if most and found.flops:
        told = ", ".join(f"{safe(name, 60)} {value / found.flops:.0%}" for name, value in most)
        parts.append(Text(f"  of it: {told}", style="dim"))
    if found.unknown:
        parts.append(Text(f"  {found.unknown} nodes of unknown shape not counted", style="yellow"))
    return parts


@lines.register
def _(report: reports.DiffReport) -> list[RenderableType]:
    parts: list[RenderableType] = [files(report.a, report.b)]
    if report.operators:
        made = table("operators that differ in number", "operator", "A", "B", right=1)
        for name, (one, two) in report.operators.items():
            row(made, name, one, two)
        parts.append(made)
    if not report.differences:
        return [*parts, Text("no differences", style="green")]
    made = table("differences", "what", "name", "A", "B", right=4)
    for each in report.differences[:_MOST]:
        row(made, each.kind, safe(each.name, 60), safe(each.a, 60), safe(each.b, 60))
    parts.append(made)
    if len(report.differences) > _MOST:
        parts.append(Text(f"  and {len(report.differences) - _MOST} more (all in --json)"))
    told = ", ".join(f"{number} {kind}" for kind, number in report.counts.items())
    return [*parts, Text(f"in all: {told}")]


@lines.register
def _(report: reports.DoctorReport) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for title, found in (
        ("versions", report.versions),
        ("machine", report.machine),
        ("extras", report.extras),
    ):
        made = table(title, "", "", right=2)
        for name, value in found.items():
            row(made, f"  {name}", value)
        parts.append(made)
    made = table("providers", "", "", "", right=3)
    for provider in report.providers:
        row(made, f"  {provider.name}", "opens" if provider.opened else "FAILS", provider.detail)
    if report.providers:
        parts.append(made)
    parts += [Text(f"problem: {safe(text, 500)}", style="bold red") for text in report.problems]
    if not report.problems:
        parts.append(Text("no problems found", style="green"))
    return parts


@lines.register
def _(report: reports.RunReport) -> list[RenderableType]:
    rate = report.samples / report.seconds if report.seconds else 0.0
    each = milliseconds(1000 * report.seconds / max(report.samples, 1))
    parts: list[RenderableType] = []
    for index, outputs in enumerate(report.shown):
        head = [] if len(report.shown) == 1 else [Text(f"sample {index}", style="bold")]
        parts += head
        parts += [Text(f"{safe(name, 80)}: {safe(text, 600)}") for name, text in outputs.items()]
    text = f"{report.samples} samples on {report.provider}, {each} a sample ({rate:.4g}/s)"
    if report.placement is not None:
        ran = ", ".join(f"{number} by {name}" for name, number in report.placement.nodes.items())
        text += f"; nodes: {ran}"
    return [*parts, Text(text, style="dim"), *notes(report.notes)]


@lines.register
def _(report: reports.ViewReport) -> list[RenderableType]:
    return [Text(f"{safe(report.path)} was shown at {report.url} for {report.seconds:.0f} s")]


@lines.register
def _(report: reports.KernelsReport) -> list[RenderableType]:
    made = table(
        report.title, "fusion", "size", "speed-up (95 % interval)", "opening", "memory", right=2
    )
    for each in report.rows:
        found = each.ratio
        text = f"{found.median:.2f}x ({found.low:.2f}-{found.high:.2f})"
        memory = f"{each.memory:.2f}x as much" if each.memory else "-"
        row(made, each.fusion, each.size, text, f"{each.opening:.2f}x as long", memory)
    return [made, Text(report.measured, style="dim")]
