"""``modelkit view``."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from modelkit import reports, viewing, worker
from modelkit.cli import options
from modelkit.cli.options import byte_count


def view(
    source: options.Source,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0: any free one", min=0)] = 0,
    browse: Annotated[
        bool, typer.Option("--browse/--no-browse", help="Open the page in the browser")
    ] = True,
    json: options.Json = False,
    quiet: options.Quiet = False,
    memory_limit: options.MemoryLimit = None,
) -> None:
    """Show a model's graph in the browser, from this machine only; Ctrl-C ends it.

    Example: modelkit view model.onnx
    """
    path = Path(source)
    fields = worker.run(
        "view",
        {"path": source},
        function="modelkit.viewing:parts",
        memory_limit=byte_count(memory_limit),
    )
    parts = viewing.Parts(tuple(fields["locations"]), tuple(fields["files"]))

    def tell(url: str) -> None:
        print(json_module.dumps({"url": url}) if json else url, flush=True)

    with viewing.private_copy(path, parts) as copy:
        report = viewing.serve(copy, path, port=port, browse=browse, tell=tell)
    if not quiet and not json:
        from modelkit.cli.show import show

        show(report)
    elif json:
        print(json_module.dumps(reports.to_json(report)))
