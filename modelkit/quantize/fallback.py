"""Layers that eight bits would spoil, in the finest form that is still fast."""

import onnx_ir as ir

from modelkit.quantize.blocks import Blocks
from modelkit.quantize.nbits import Nbits
from modelkit.quantize.outcome import Outcome
from modelkit.safe import safe

_FINE = Blocks(bits=8, size=32)


def fall_back(graph: ir.Graph, names: frozenset[str], outcome: Outcome) -> int:
    """Give the linear layers called ``names`` 8-bit weights in blocks, in place; how many.

    Activations are rounded row by row and block by block there, which is faster, smaller and nearly
    as exact as float.  ``outcome`` has them among the skips, where they no longer are.
    """
    nbits, done = Nbits(), set()
    for node in list(graph):
        if node.op_type == "MatMul" and node.name in names:
            name = node.name or ""
            if nbits.replace(node, graph, _FINE) is None:
                done.add(safe(name))
    outcome.skips[:] = [skip for skip in outcome.skips if skip.node not in done]
    outcome.quantized += len(done)
    return len(done)
