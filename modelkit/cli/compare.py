"""``modelkit compare``."""

import sys
from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import execute
from modelkit.cli.groups import Manner, Preparation, Session


def compare(
    a: Annotated[
        str,
        typer.Argument(help="The model to trust; also torch:model.pt", show_default=False),
    ],
    b: Annotated[str, typer.Argument(help="The model to check", show_default=False)],
    session: Session,
    preparation: Preparation,
    manner: Manner,
    eval_data: Annotated[
        str | None,
        typer.Option(help="Real inputs: arrays, records, images, texts, or a folder of them"),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="True classes or values of the rows: .npy, .json, .txt")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="top1, top5, f1, mrr, rmse or module:function; agreement without labels"),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Find the first tensor that differs")
    ] = False,
    atol: Annotated[float | None, typer.Option(help="Largest absolute difference")] = None,
    rtol: Annotated[float | None, typer.Option(help="Largest relative difference")] = None,
    dim: options.Dim = None,
    providers: options.Providers = "cpu",
    trust_source: Annotated[
        bool, typer.Option("--trust-source", help="Load a source that can run code")
    ] = False,
    seed: options.Seed = 0,
    report: options.Report = None,
) -> None:
    """Measure how far the outputs of two models are apart; exit 1 when too far.

    Example: modelkit compare model.onnx model.int8.onnx --eval-data sentences.txt
    """
    arguments = {
        "a": a,
        "b": b,
        "eval_data": eval_data,
        "labels": labels,
        "metric": metric,
        "layers": layers,
        "atol": atol,
        "rtol": rtol,
        "dims": options.dims(dim),
        "preprocessing": preparation.words(),
        "providers": providers,
        "trust_source": trust_source,
        "seed": seed,
        **session.arguments(),
    }
    if not execute("compare", arguments, manner, page=report).passed:
        sys.exit(1)
