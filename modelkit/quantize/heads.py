"""Attention whose heads lie side by side in the last axis, by either operator that computes it."""

import onnx_ir as ir

from modelkit.quantize.nbits import DOMAIN

# Inputs that bring biases, or keys and values of another place.
_FOREIGN = {("", "Attention"): (4, 5), (DOMAIN, "MultiHeadAttention"): (3, 6, 7)}


def heads_of(node: ir.Node | None) -> tuple[int, int] | None:
    """How many heads its queries and its keys have; None for all but plain attention [b, s, h * w].

    Plain is what makes one result from its queries, keys and values (inputs 0 to 2) alone, and
    bounds no scores.
    """
    foreign = None if node is None else _FOREIGN.get((node.domain, node.op_type))
    if node is None or foreign is None or len(node.outputs) != 1:
        return None
    if any(place < len(node.inputs) and node.inputs[place] is not None for place in foreign):
        return None
    said = node.attributes
    if node.domain == DOMAIN:
        return said.get_int("num_heads", 0), said.get_int("num_heads", 0)
    if said.get_float("softcap", 0.0):
        return None
    found = said.get_int("q_num_heads", 0), said.get_int("kv_num_heads", 0)
    return found if all(found) else None
