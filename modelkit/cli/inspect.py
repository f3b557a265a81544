"""``modelkit inspect``."""

from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import execute
from modelkit.cli.groups import Manner


def inspect(
    source: options.Source,
    manner: Manner,
    other: Annotated[
        str | None, typer.Argument(help="A second model: show how they differ", show_default=False)
    ] = None,
    dim: options.Dim = None,
    graph: Annotated[bool, typer.Option("--graph", help="Show the graph as text")] = False,
    page: Annotated[int, typer.Option(help="Page of the graph", min=1)] = 1,
    report: options.Report = None,
) -> None:
    """Show what a model file holds and what a run costs, or how two models differ.

    Example: modelkit inspect model.onnx --dim batch=1 --dim sequence=128
    """
    if other is not None:
        execute("diff", {"a": source, "b": other}, manner, page=report)
        return
    arguments = {"path": source, "dims": options.dims(dim), "graph": graph, "page": page}
    execute("inspect", arguments, manner, page=report)
