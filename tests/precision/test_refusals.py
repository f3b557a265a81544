from collections import Counter
from pathlib import Path

import pytest

from modelkit.errors import BadInput, CheckFailed
from modelkit.precision.convert import types_of
from modelkit.precision.refusals import no_gain, nothing, reasons, refuse, unlike
from tests.precision.graphs import FP16, graph, node


def test_half_between_casts_is_half_already() -> None:
    text = "(float[n] x) => (float[n] y) { a = Cast<to = 10>(x) b = Neg(a) y = Cast<to = 1>(b) }"
    with pytest.raises(BadInput, match="nothing in float") as caught:
        refuse(graph(text), Path("m.onnx"), "fp16")
    assert caught.value.code == "no-float"
    refuse(graph("(float[n] x) => (float[n] y) { y = Neg(x) }"), Path("m.onnx"), "fp16")


def test_reasons_are_counted_by_operator() -> None:
    text = """(float[n] x) => (float y, float[k] z)
    { a = Neg(x) y = ReduceSum<keepdims = 0>(a) z = NonZero(x) }""".replace("float[k] z", "int64[1, k] z")  # fmt: skip
    model = graph(text)
    keep = {node(model, "y"): "a sum", node(model, "a"): "an island"}
    assert reasons(types_of(model, FP16, keep), keep) == Counter(
        {"ReduceSum: a sum": 1, "Neg: an island": 1}
    )
    error = nothing(Path("m.onnx"), "fp16", Counter({"Neg: an island": 3}))
    assert error.code == "nothing-converted" and "3 x Neg: an island" in (error.cause or "")


def test_a_failed_comparison_says_what_may_help() -> None:
    failed = CheckFailed("differs", cause="NaN stands elsewhere", code="outputs-differ")
    plain, mixed = (unlike(failed, "fp16", mixed=each) for each in (False, True))
    assert "--mixed" in (plain.hint or "") and "--mixed" not in (mixed.hint or "")
    assert "--bf16" in (plain.hint or "") and plain.cause == "NaN stands elsewhere"
    assert "--bf16" not in (unlike(failed, "bf16", mixed=False).hint or "")


def test_no_gain_on_this_machine_is_said_and_int8_offered() -> None:
    text = no_gain("fp16")
    assert text == "" or ("no faster here" in text and "quantize --dynamic" in text)
