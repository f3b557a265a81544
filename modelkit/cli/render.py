"""How reports become tables and lines: the frame that the views of all verbs share."""

from functools import singledispatch
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from modelkit.safe import safe


@singledispatch
def lines(report: Any) -> list[RenderableType]:
    """The report as renderables, top to bottom."""
    raise TypeError(f"no view of {type(report).__name__}")


def table(title: str, *columns: str, right: int = 1) -> Table:
    """A table whose first ``right`` columns are text and the others figures."""
    found = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        show_header=any(columns),
        min_width=min(len(title), 80) or None,  # or rich wraps the title
    )
    for index, column in enumerate(columns):
        justify: Any = "left" if index < right else "right"
        found.add_column(Text(column), justify=justify, header_style="dim")
    return found


def row(to: Table, *cells: object) -> None:
    """Add a row of texts, each made harmless."""
    to.add_row(*(Text(safe(str(cell), 300)) for cell in cells))


def notes(found: tuple[str, ...]) -> list[RenderableType]:
    """One dim line a note."""
    return [Text(f"note: {safe(note, 500)}", style="dim") for note in found]


def plain(part: Any) -> str:
    """The words of a renderable that is a text."""
    return part.plain if isinstance(part, Text) else str(part)
