"""The engine: find an expression in a graph, put another in its place.

Matching never changes the graph; only :func:`apply` does.
"""

from modelkit.rewrite.apply import Applied, apply
from modelkit.rewrite.capture import Capture
from modelkit.rewrite.expression import Expr, Operand, convolution, either, op
from modelkit.rewrite.fusion import Fusion, read_fusion

__all__ = [
    "Applied",
    "Capture",
    "Expr",
    "Fusion",
    "Operand",
    "apply",
    "convolution",
    "either",
    "op",
    "read_fusion",
]
