"""What quantization refuses, with the reason and what to try instead."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from modelkit.deliver import told_slower
from modelkit.errors import BadInput, CheckFailed, Unsupported
from modelkit.model import Model
from modelkit.model.walk import inside
from modelkit.quantize.blocks import SIZES
from modelkit.quantize.options import Options
from modelkit.quantize.outcome import Outcome
from modelkit.quantize.plan import WIDE
from modelkit.reports import SpeedVerdict
from modelkit.safe import safe

_TREES = ("TreeEnsemble", "SVM", "LinearClassifier", "LinearRegressor")
_INTEGER = ("QLinear", "MatMulInteger")
_SIGNS = ("QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinear", "MatMulNBits")


def refuse(model: Model, path: Path) -> None:
    """Raise for models that are quantized already, or have nothing eight bits could speed up."""
    found = next(already_quantized(model), None)
    if found is not None:
        raise BadInput(
            f"{safe(str(path))} is quantized already",
            cause=f"it holds {safe(found)}",
            hint="quantize the float model it came from",
            code="already-quantized",
        )
    trees = [n.op_type for n in inside(model.graph) if n.op_type.startswith(_TREES)]
    if trees:
        raise Unsupported(
            f"{safe(str(path))} is not a neural network",
            cause=f"{trees[0]} compares and adds; it has no weights that eight bits would speed up",
            hint="leave it as it is",
            code="not-quantizable",
        )


def already_quantized(model: Model) -> Iterator[str]:
    """Operators that show a model was quantized before."""
    for node in inside(model.graph):
        if node.op_type.startswith(_SIGNS):
            yield node.op_type


def unmatched(model: Model, outcome: Outcome, options: Options) -> list[str]:
    """What was to be left out and is not there: a slip of the pen, most often."""
    names = {node.name or "" for node in inside(model.graph)}
    names |= {skip.node for skip in outcome.skips}
    kinds = {node.op_type for node in inside(model.graph)} | {skip.op for skip in outcome.skips}
    missed = [
        f"--exclude {safe(pattern.pattern)} matches no node"
        for pattern in options.patterns
        if not any(pattern.search(name) for name in names)
    ]
    missed += [
        f"--exclude-op {safe(op)}: no such node" for op in options.exclude_op if op not in kinds
    ]
    return missed


def nothing(path: Path, outcome: Outcome, mode: str) -> CheckFailed:
    """No layer was quantized, and why not."""
    reasons = Counter(f"{skip.op}: {skip.reason}" for skip in outcome.skips)
    causes = [f"{count} x {reason}" for reason, count in reasons.most_common(6)]
    kind = {"dynamic": "dynamically", "static": "statically"}.get(mode, f"by {mode}")
    return CheckFailed(
        f"nothing in {safe(str(path))} can be quantized {kind}",
        cause="\n".join(causes) or "it holds no linear layer with constant weights",
        hint=f"nothing was written{_instead(outcome, mode)}",
        code="nothing-quantized",
    )


def _instead(outcome: Outcome, mode: str) -> str:
    """The kind of quantization that has a form for most of what was left."""
    if mode != "static" and any(skip.op == "Conv" for skip in outcome.skips):
        return "; --static --calib-data FILE quantizes convolutions"
    return ""


def slower(
    path: Path, result: Model, outcome: Outcome, speed: SpeedVerdict, mode: str
) -> CheckFailed:
    """The result lost the race, with what in the graph explains it."""
    causes, hints = [told_slower(speed)], []
    pairs = _loose_pairs(result)
    if pairs:
        causes.append(f"{pairs} QDQ pairs do not fuse into an integer operator")
        hints.append("--exclude-op the operators they stand around")
    kinds = Counter(node.op_type for node in result.graph)
    if kinds["DequantizeLinear"] and not any(kind.startswith(_INTEGER) for kind in kinds):
        hints.append("--format qop, which writes the integer operators themselves")
    wide = sum(kinds[kind] for kind in WIDE)
    if wide:
        causes.append(f"{wide} activations have no integer kernel and convert back to float")
    kept = len(outcome.skips)
    if kept:
        causes.append(f"{kept} of {outcome.candidates} layers stay in float")
    causes.append(
        "quantizing the activations costs more than the integer products save; small layers and"
        " short inputs are dominated by it"
    )
    if mode == "dynamic":
        hints.append("--static --calib-data, which finds no ranges at run time")
    hints.append("--no-measure to keep it for its size")
    return CheckFailed(
        f"{safe(str(path))} is slower in eight bits",
        cause="; ".join(causes),
        hint="nothing was written; try " + ", or ".join(hints),
        code="slower",
    )


def slow_but_small(speed: SpeedVerdict, mode: str) -> list[str]:
    """What to say of a result that is kept for its size though it lost the race, or ran none."""
    if speed.ratio is None and "50 µs" in speed.reason:
        why = "but quantizing the activations costs as much as they save"
        if mode in ("int4", "int8-weights"):
            why = "no run faster: activations stay in float"
        return [
            f"a run takes less than 50 µs, most of it the call itself: fewer bits make the file"
            f" smaller, {why}"
        ]
    if speed.ratio is None or speed.ratio.high >= 1:
        return []
    return [
        f"slower than its source ({speed.ratio.median:.2f}x), kept for its size; --dynamic is the"
        " form that is fast on many rows at once"
    ]


def too_coarse(error: CheckFailed, options: Options) -> CheckFailed:
    """``error`` with what would make weights in blocks finer than ``options`` do."""
    few, blocks = options.mode == "int4", options.blocks()
    ways = {
        "--calib-data FILE": few and options.calib_data is None,
        "--asymmetric": blocks.symmetric,
        "--block-size 16": blocks.size > SIZES[0],
        "--int8-weights": few,
        "--exclude REGEX": True,
    }
    finer = [way for way, helps in ways.items() if helps]
    hint = f"nothing was written; try {', or '.join(finer)}"
    return CheckFailed(error.message, cause=error.cause, hint=hint, code=error.code)


def _loose_pairs(model: Model) -> int:
    """DequantizeLinear of computed values none of whose readers has an integer kernel."""
    fusing = {
        "MatMul", "Gemm", "Conv", "Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool",
        "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Sigmoid",
        "LeakyRelu", *WIDE,
    }  # fmt: skip
    return sum(
        node.op_type == "DequantizeLinear"
        and node.inputs[0] is not None
        and node.inputs[0].producer() is not None
        and not any(user.op_type in fusing for user, _ in node.outputs[0].uses())
        for node in model.graph
    )
