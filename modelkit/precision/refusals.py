"""What half precision refuses, with the reason and what to try instead."""

from collections import Counter
from pathlib import Path

from modelkit.errors import BadInput, CheckFailed
from modelkit.model import Model
from modelkit.model.walk import inside
from modelkit.precision.convert import Types
from modelkit.precision.rules import Keep
from modelkit.precision.types import is_wide
from modelkit.runtime.signatures import computes_in
from modelkit.safe import safe


def refuse(model: Model, path: Path, half: str) -> None:
    """Raise for models that hold no float but between casts."""
    nodes = (node for node in inside(model.graph) if node.op_type != "Cast")
    values = (value for node in nodes for value in (*node.inputs, *node.outputs))
    if any(map(is_wide, values)):
        return
    raise BadInput(
        f"{safe(str(path))} holds nothing in float that {half} could halve",
        cause="no operator but Cast reads or makes a float tensor",
        hint="it may be in half precision already; `modelkit inspect` shows its types",
        code="no-float",
    )


def nothing(path: Path, half: str, reasons: Counter[str]) -> CheckFailed:
    """No node can compute in half, and why not."""
    causes = [f"{count} x {reason}" for reason, count in reasons.most_common(6)]
    return CheckFailed(
        f"nothing in {safe(str(path))} can compute in {half}",
        cause="\n".join(causes) or "it holds no operator that has a half form",
        hint="nothing was written",
        code="nothing-converted",
    )


def reasons(types: Types, keep: Keep) -> Counter[str]:
    """How often each reason keeps a node in float."""
    found = Counter(f"{safe(node.op_type)}: {reason}" for node, reason in keep.items())
    for node, slots in types.slots.items():
        if slots.obstacle:
            found[f"{safe(node.op_type)}: {slots.obstacle}"] += 1
    return found


def unlike(error: CheckFailed, half: str, *, mixed: bool) -> CheckFailed:
    """A failed comparison, with what may help."""
    hints = [] if mixed else ["--mixed keeps float where it is needed"]
    if half == "fp16":
        hints.append("--bf16 has the range of float")
    return CheckFailed(
        f"in {half} it does not compute what its source computes",
        cause=error.cause,
        hint="nothing was written; " + ", or ".join(hints),
        code="outputs-differ",
    )


def no_gain(half: str) -> str:
    """Why the result is no faster here; "" where this build computes in half."""
    kind = "tensor(float16)" if half == "fp16" else "tensor(bfloat16)"
    if computes_in("MatMul", kind) and computes_in("Conv", kind):
        return ""
    return (
        f"no faster here: this ONNX Runtime has no {half} kernels for MatMul and Conv on the CPU;"
        " it halves the file, and is for GPUs.  `modelkit quantize --dynamic` (INT8) is what makes"
        " it faster on a CPU"
    )
