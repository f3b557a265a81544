"""``inspect``: what a model file holds, what a run of it costs, and how two files differ."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from modelkit import progress
from modelkit.errors import UsageError
from modelkit.inspection.costs import costs
from modelkit.inspection.diff import differences
from modelkit.inspection.graph_text import graph_lines
from modelkit.inspection.lint import lint_findings
from modelkit.inspection.weights import dims_text, dtype_name, size, tensors
from modelkit.model import Model, facts, history, load, operator_counts
from modelkit.reports import DiffReport, FileFacts, InspectReport, ValueFacts
from modelkit.safe import safe

_LARGEST = 8
_PAGE = 200
_QUICK = 20_000  # nodes; beyond, costs are worked out only when they are asked for
_MOST_DIFFERENCES = 5000


def inspect_file(
    path: str,
    *,
    dims: Mapping[str, int] | None = None,
    graph: bool = False,
    page: int = 1,
) -> InspectReport:
    """Describe the model in ``path``: signature, operators, sizes, costs, history and lint.

    Weights are initializers and Constant nodes, those of subgraphs and functions too; the lint
    reads small ones only.  Inputs that are initializers (IR version 3) are not listed.  ``dims``
    gives lengths of axes for the costs (default: batch 1, sequence 128); ``graph`` gives the page
    ``page`` of the graph as text instead.

    Raises:
        BadInput: the graph is illegal; see :func:`modelkit.model.load`.
        UsageError: there is no such page or axis.
    """
    file = Path(path)
    progress.step("reading")
    model = load(file)
    found = facts(model, file)
    lines: tuple[str, ...] = ()
    pages = 0
    if graph:
        lines, pages = _page(model, page)
    progress.step("lint")
    weights = sorted(tensors(model), key=lambda named: -size(named[1]))
    by_dtype: Counter[str] = Counter()
    for _, tensor in weights:
        by_dtype[dtype_name(tensor.dtype)] += size(tensor)
    findings = tuple(lint_findings(model, found, weights))
    spent = None
    if not graph and (dims or found.nodes <= _QUICK):
        progress.step("costs")
        spent = costs(model.clone(), dims or {})
    return InspectReport(
        file=found,
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        inputs=tuple(_facts(value) for value in model.graph.inputs if value.const_value is None),
        outputs=tuple(map(_facts, model.graph.outputs)),
        operators=operator_counts(model),
        bytes_by_dtype=dict(by_dtype.most_common()),
        largest=tuple(
            (name, f"{dtype_name(tensor.dtype)}{dims_text(tensor)}", size(tensor))
            for name, tensor in weights[:_LARGEST]
        ),
        history=tuple(
            safe(f"{step.get('verb')} by modelkit {step.get('modelkit')}: {step.get('recipe')}")
            for step in history(model)
        ),
        lint=findings,
        costs=spent,
        graph=lines,
        pages=pages,
    )


def diff_files(a: str, b: str) -> DiffReport:
    """What two models do not share: inputs, outputs, opsets, operators, attributes, weights.

    Raises:
        BadInput: see :func:`modelkit.model.load`.
    """
    progress.step("reading")
    one, two = load(Path(a)), load(Path(b))
    progress.step("comparing")
    found = list(differences(one, two))
    counts_a, counts_b = operator_counts(one), operator_counts(two)
    operators = {
        name: (counts_a.get(name, 0), counts_b.get(name, 0))
        for name in dict.fromkeys([*counts_a, *counts_b])
        if counts_a.get(name, 0) != counts_b.get(name, 0)
    }
    return DiffReport(
        facts(one, Path(a)),
        facts(two, Path(b)),
        operators,
        tuple(found[:_MOST_DIFFERENCES]),
        dict(Counter(each.kind for each in found)),
    )


def _page(model: Model, page: int) -> tuple[tuple[str, ...], int]:
    lines = graph_lines(model)
    pages = max(1, -(-len(lines) // _PAGE))
    if not 1 <= page <= pages:
        raise UsageError(f"there is no page {page}", hint=f"the graph has {pages} pages")
    return tuple(lines[(page - 1) * _PAGE : page * _PAGE]), pages


def _facts(value: ir.Value) -> ValueFacts:
    name = value.name or ""
    if value.shape is None:
        return ValueFacts(name, dtype_name(value.dtype), ("...",))
    dims = tuple(dim if isinstance(dim, int) else (dim.value or "?") for dim in value.shape)
    return ValueFacts(name, dtype_name(value.dtype), dims)


__all__ = ["FileFacts", "diff_files", "inspect_file"]
