"""Keep ONNX Runtime from giving paddings by zero to poolings."""

from modelkit.fusions import pad_before_pool
from modelkit.model import Model
from modelkit.model.walk import inside
from modelkit.passes.changes import Changes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.rewrite import apply, read_fusion

_POOLS = ("AveragePool", "MaxPool")


def pools_paddings(model: Model) -> bool:
    """Whether a pooling of ``model`` stands behind a padding: cheap, and nothing is changed."""
    pools = (node for node in inside(model.graph) if node.op_type in _POOLS)
    makers = (value.producer() for node in pools for value in node.inputs[:1] if value is not None)
    return any(maker is not None and maker.op_type == "Pad" for maker in makers)


def keep_paddings(model: Model) -> Changes:
    """Apply the fusion pad_before_pool, for verbs that apply no others."""
    if not pools_paddings(model):
        return Changes()
    infer_symbols(model)
    applied = apply([read_fusion(pad_before_pool)], model, allow=lambda fusion: None)
    count = sum(change.count for change in applied.changes)
    what = (
        "1 padding before a pooling is" if count == 1 else f"{count} paddings before poolings are"
    )
    note = (
        f"{what} by the smallest number above zero: ONNX Runtime takes zeros into the pooling,"
        " where they count as minus infinity"
    )
    return Changes(count, (note,) if count else ())
