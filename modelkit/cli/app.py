"""The table of commands, and a group that imports a command's file only when it is used."""

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

COMMANDS: dict[str, str] = {
    "convert": "Turn a trained model of any framework into ONNX, checked against the framework",
    "optimize": "Rewrite the graph so that it runs faster here, verified and never slower",
    "fp16": "Halve a model: FP16 or BF16, proven by simulated half arithmetic",
    "quantize": "Store and compute layers in 8 or 4 bits, gated by accuracy and speed",
    "run": "Run a model on files, arrays, texts, images or random values",
    "compare": "Measure how far the outputs of two models are apart",
    "bench": "Time models against each other, interleaved, with confidence intervals",
    "inspect": "Show what a model file holds",
    "view": "Show a model's graph in the browser, from this machine only",
    "tune": "Measure which rewrites pay on this machine",
    "doctor": "Show what this machine and installation can really do",
}
"""Name to one-line help; the command ``x`` is the function ``x`` of ``modelkit.cli.x``."""


class LazyGroup(TyperGroup):
    """Answers help and did-you-mean from the table; imports one command's file at most."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # names only

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build one command; None when the table has no such name."""
        if cmd_name not in COMMANDS:
            return None
        from modelkit.cli.groups import expanded

        module = importlib.import_module(f"modelkit.cli.{cmd_name}")
        builder = typer.Typer(
            rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False
        )
        builder.command(cmd_name)(expanded(getattr(module, cmd_name)))
        return typer.main.get_command(builder)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the table without building any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from modelkit import __version__

        print(f"modelkit {__version__}")
        raise typer.Exit


@app.callback()
def modelkit(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version"),
    ] = False,
) -> None:
    """Any trained model to the smallest, fastest ONNX model that is proven still right."""
