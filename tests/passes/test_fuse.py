from dataclasses import replace

import numpy as np

from modelkit.fusions import load_fusions
from modelkit.passes.fuse import Fused, fuse
from modelkit.rewrite import Fusion
from tests.passes.harness import check, model_of, normal, ops

GELU = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 4] x) => (float[n, 4] y)
<float half = {0.5}, float one = {1.0}, float root = {1.4142135623730951}> {
  a = Div(x, root)
  b = Erf(a)
  c = Add(b, one)
  d = Mul(x, c)
  y = Mul(d, half)
}"""
PLAIN = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 4] x) => (float[n, 4] y) { y = Relu(x) }"""


def fused(text: str, highest: int = 23, refuse: str = "") -> Fused:
    def allow(fusion: Fusion) -> str | None:
        return "refused here" if fusion.name == refuse else None

    wanted = [each for each in load_fusions() if each.name == "gelu_erf"]
    return fuse(model_of(text), wanted, allow=allow, clean=lambda model: (), highest=highest)


def test_the_opset_rises_for_a_fusion_that_needs_it() -> None:
    result = fused(GELU)
    assert result.model.opset_imports[""] == 23
    assert ops(result.model)["Gelu"] == 1
    assert result.notes == ("opset 17 became 23, which fusions need",)
    check(result.model, {"x": normal(3, 4)}, exact=False, before=model_of(GELU))


def test_it_does_not_rise_for_nothing() -> None:
    result = fused(PLAIN)
    assert result.model.opset_imports[""] == 17
    assert (result.changes, result.notes) == ((), ())


def test_a_cap_keeps_the_opset_and_says_why_nothing_fired() -> None:
    result = fused(GELU, highest=17)
    assert result.model.opset_imports[""] == 17
    assert [miss.reason for miss in result.near_misses] == ["needs opset 20, the model has 17"]


def test_a_refused_fusion_is_a_near_miss() -> None:
    result = fused(GELU, refuse="gelu_erf")
    assert not result.changes
    assert [miss.reason for miss in result.near_misses] == ["refused here"]


REGIONS = """<ir_version: 8, opset_import: ["": 18]>
g (float[n, 4, 8, 8] x, float[k, 4] boxes, int64[k] of) => (float[k, 4, 7, 7] z)
<float half = {0.5}, float one = {1.0}, float root = {1.4142135623730951}> {
  r = RoiAlign<output_height = 7, output_width = 7>(x, boxes, of)
  a = Div(r, root) b = Erf(a) c = Add(b, one) d = Mul(r, c) z = Mul(d, half)
}"""


def test_the_opset_stays_where_the_runtime_has_all_kernels() -> None:
    # RoiAlign-22 has none.
    result = fused(REGIONS)
    assert result.model.opset_imports[""] == 21
    assert ops(result.model)["Gelu"] == 1
    assert result.notes == ("opset 18 became 21, which fusions need",)
    boxes = np.array([[0, 0, 4, 4], [1, 2, 7, 6]], np.float32)
    feeds = {"x": normal(2, 4, 8, 8), "boxes": boxes, "of": np.array([0, 1])}
    check(result.model, feeds, exact=False, before=model_of(REGIONS))


def test_a_kernel_that_ends_is_named_where_a_fusion_is_left_out() -> None:
    wanted = [replace(each, opset=23) for each in load_fusions() if each.name == "gelu_erf"]
    result = fuse(
        model_of(REGIONS), wanted, allow=lambda each: None, clean=lambda model: (), highest=23
    )
    assert result.model.opset_imports[""] == 18
    assert result.notes == (
        "the opset stays below 22: ONNX Runtime has no kernel for RoiAlign there",
    )
