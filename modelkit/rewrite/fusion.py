"""What one file of the fusion library declares."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from modelkit.rewrite.expression import Expr


@dataclass(frozen=True, eq=False)
class Pattern:
    """One spelling to look for: the value it starts from, and others it replaces with it.

    ``also`` are values inside that others may read, or further outputs of operators inside;
    ``after`` gives one replacement for each.
    """

    root: Expr
    also: tuple[Expr, ...] = ()


@dataclass(frozen=True, eq=False)
class Fusion:
    """A rewrite: the expressions it looks for, its conditions, and what it puts there.

    ``when`` gives None where it may go ahead, the reason where it may not, and "" where the place
    only looks like one, so that nobody is told that it was missed.

    ``opset`` is the lowest it needs; ``order`` puts a fusion behind those of lower order, so that
    it takes what they left, from 100 on behind all rounds of the others; ``level`` is "basic" for
    what leaves a kernel out and puts no new one there, "extended" for standard operators that any
    runtime has, "all" for what one target runs fastest.
    """

    name: str
    doc: str
    patterns: tuple[Pattern, ...]
    after: Callable[..., Any]
    when: Callable[..., str | None] | None
    opset: int
    level: str
    order: int = 0

    @property
    def size(self) -> int:
        """Operators of the largest pattern."""
        return max(pattern.root.size() for pattern in self.patterns)


def read_fusion(module: ModuleType) -> Fusion:
    """The fusion that ``module`` declares with ``before``, ``after``, ``when``, ``OPSET``."""
    before = module.before if isinstance(module.before, tuple) else (module.before,)
    return Fusion(
        name=module.__name__.rsplit(".", 1)[-1],
        doc=(module.__doc__ or "").strip(),
        patterns=tuple(_traced(function) for function in before),
        after=module.after,
        when=getattr(module, "when", None),
        opset=getattr(module, "OPSET", 1),
        level=getattr(module, "LEVEL", "extended"),
        order=getattr(module, "ORDER", 0),
    )


def _traced(function: Callable[..., Any]) -> Pattern:
    """The expressions a ``before`` writes; its parameters stand for any value."""
    made = function(*(Expr(name=name) for name in inspect.signature(function).parameters))
    root, *also = made if isinstance(made, tuple) else (made,)
    for place, part in enumerate(also):
        if not part.name and part.outputs == 1:
            part.name = f"also {place}"  # no parameter can be called so
    return Pattern(root, tuple(also))
