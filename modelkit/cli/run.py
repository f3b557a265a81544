"""``modelkit run``."""

from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import execute
from modelkit.cli.groups import Manner, Preparation, Session


def run(
    model: options.Source,
    session: Session,
    preparation: Preparation,
    manner: Manner,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            help="Data: FILE or NAME=FILE (arrays, JSON, CSV, images, texts, folder), or"
            " NAME=normal|zeros|ones|ids:0-100|uniform:0-1; repeatable",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Write to .npz, .jsonl or .parquet; else print"),
    ] = None,
    providers: options.Providers = "cpu",
    dim: options.Dim = None,
    batch: Annotated[int, typer.Option(help="Texts or images a run", min=1)] = 1,
    post: Annotated[
        list[str] | None,
        typer.Option(help="softmax, argmax, topk:5, normalize; or OUTPUT=...; repeatable"),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Names of classes: a label a line, or JSON")
    ] = None,
    logit_scale: Annotated[
        float | None, typer.Option(help="CLIP: factor of the cosines, if the model keeps none")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted .jsonl stopped")
    ] = False,
    force: options.Force = False,
    seed: options.Seed = 0,
) -> None:
    """Run a model on files, arrays, texts, images or random values.

    Example: modelkit run model.onnx --input photo.jpg --scale 1/255 --post softmax --post topk:5
    """
    arguments = {
        "model": model,
        "inputs": data or [],
        "output": output,
        "providers": providers,
        "dims": options.dims(dim),
        "batch": batch,
        "post": post or [],
        "labels": labels,
        "logit_scale": logit_scale,
        "preprocessing": preparation.words(),
        "force": force,
        "resume": resume,
        "seed": seed,
        **session.arguments(),
    }
    execute("run", arguments, manner)
