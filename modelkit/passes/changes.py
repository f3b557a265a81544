"""What one run of a pass did."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Changes:
    """How often a pass changed the graph, and what a reader should know, one line each.

    ``count`` is 0 exactly when the model is untouched; ``notes`` are safe to print.
    """

    count: int = 0
    notes: tuple[str, ...] = ()
