import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from modelkit.cli.groups import Manner, Preparation, Session, expanded


@dataclass(frozen=True)
class Colours:
    red: Annotated[int, typer.Option(help="how red")] = 1
    names: Annotated[list[str] | None, typer.Option()] = None


def paint(what: str, colours: Colours, manner: Manner, size: int = 3) -> None:
    """Paint."""
    print(what, colours.red, colours.names, manner.quiet, size)


def test_the_fields_of_a_group_become_options() -> None:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(expanded(paint))
    arguments = ["wall", "--red", "5", "--names", "a", "--names", "b", "-q", "--size", "4"]
    done = CliRunner().invoke(app, arguments)
    assert done.stdout == "wall 5 ['a', 'b'] True 4\n", done.output
    assert "how red" in CliRunner().invoke(app, ["--help"]).output


def test_a_command_without_groups_stays_as_it_is() -> None:
    def plain(what: str) -> None: ...

    assert expanded(plain) is plain
    assert "colours" not in inspect.signature(expanded(paint)).parameters


def test_groups_as_arguments_of_verbs() -> None:
    found = Session(intra_op=4, provider_option=["cuda.device_id=1"]).arguments()
    assert (found["threads"], found["custom_ops"]) == (4, [])
    assert "intra_op" not in found
    assert Preparation(resize="8x8").words() == {"resize": "8x8"}


@pytest.mark.parametrize("field", ["json", "quiet", "verbose", "timeout", "memory_limit"])
def test_every_command_has_the_same_manner(field: str) -> None:
    assert field in Manner.__dataclass_fields__
