"""``modelkit bench``."""

import sys
from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import execute
from modelkit.cli.groups import Manner, Session


def bench(
    models: Annotated[
        list[str], typer.Argument(help="Models; the first row is the baseline", show_default=False)
    ],
    session: Session,
    manner: Manner,
    against: Annotated[
        str | None,
        typer.Option(help="Time the source framework too: a model folder or module:factory"),
    ] = None,
    eval_data: Annotated[
        str | None, typer.Option(help="Real inputs: adds the quality against the first row")
    ] = None,
    providers: options.Providers = "cpu",
    dim: options.Dims = None,
    runs: Annotated[int, typer.Option("-n", "--runs", help="Runs a row; 0: by time")] = 0,
    duration: Annotated[float, typer.Option(help="Seconds a row and point; 0: default")] = 0.0,
    warmup: Annotated[int, typer.Option(help="Runs before the timed ones; 0: by time")] = 0,
    concurrency: Annotated[
        int, typer.Option(help="Callers that share a session: adds the throughput")
    ] = 0,
    io_binding: Annotated[
        bool, typer.Option("--io-binding", help="Keep inputs and outputs on the device")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show where the time goes, by operator and node")
    ] = False,
    roofline: Annotated[
        bool, typer.Option("--roofline", help="Show how near it is to the machine's peaks")
    ] = False,
    save: Annotated[str | None, typer.Option(help="Keep the figures in this JSON file")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Compare with figures kept by --save on this machine")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="The arguments are kept figures: show side by side")
    ] = False,
    fail_if_slower: Annotated[
        str | None, typer.Option(help="Exit 1 when the last row is this much slower, as 5%")
    ] = None,
    seed: options.Seed = 0,
    report: options.Report = None,
) -> None:
    """Time models against each other, interleaved, with confidence intervals.

    Example: modelkit bench model.onnx model.opt.onnx --dim batch=1,8 --dim sequence=128
    """
    if merge:
        execute("merge", {"files": models}, manner, page=report)
        return
    arguments = {
        "models": models,
        "against": against,
        "eval_data": eval_data,
        "providers": providers,
        "dims": options.sweeps(dim),
        "runs": runs,
        "duration": duration,
        "warmup": warmup,
        "concurrency": concurrency,
        "io_binding": io_binding,
        "profile": profile,
        "roofline": roofline,
        "save": save,
        "baseline": baseline,
        "fail_if_slower": fail_if_slower,
        "seed": seed,
        **session.arguments(),
    }
    found = execute("bench", arguments, manner, page=report)
    if any(row.error for point in found.points for row in point.rows):
        sys.exit(5)
