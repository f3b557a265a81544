from pathlib import Path

import onnx

from modelkit.model import Model, clone, load, save
from modelkit.optimize import optimize
from modelkit.passes.distinguish_dims import MARK, distinguish_dims, distinguished
from modelkit.passes.infer_symbols import infer_symbols
from tests.models import model_file
from tests.passes.harness import check, model_of, normal

TEXT = """<ir_version: 9, opset_import: ["": 20]> g (float[n, s, 4] x) => (float[n, s, 4] y)
    { a = Abs(x) t = Transpose<perm=[0, 2, 1]>(a) b = Relu(t) c = Add(b, t)
      u = Transpose<perm=[0, 2, 1]>(c) d = Neg(u) e = Transpose<perm=[0, 2, 1]>(d)
      f = Transpose<perm=[0, 2, 1]>(e) y = Add(f, x) }"""


def named(text: str = TEXT) -> Model:
    model = model_of(text)
    infer_symbols(model)
    return model


def first_dims(model: Model) -> dict[str, str]:
    values = [value for node in model.graph for value in node.outputs]
    return {str(v.name): str(v.shape[0]) for v in values if v.shape is not None}


def test_values_apart_have_names_of_their_own() -> None:
    model = named()
    before = clone(model)
    assert not distinguished(model)
    assert distinguish_dims(model).count == 4
    assert distinguished(model)
    dims = first_dims(model)
    assert dims["t"] == dims["b"] == dims["c"]  # an elementwise operator connects them
    assert dims["u"] == dims["d"]
    assert len({dims[name] for name in "atude"}) == 4
    assert all(dim.startswith(f"n{MARK}") for name, dim in dims.items() if name not in "fy")
    assert dims["f"] == dims["y"] == "n"  # an output, and what stands beside it
    check(model, {"x": normal(2, 3, 4)}, {"x": normal(1, 1, 4)}, before=before)


def test_images_that_a_convolution_reads_keep_their_names() -> None:
    """In ONNX Runtime's layouts they go on from there, and sums in place compare them."""
    text = """<ir_version: 9, opset_import: ["": 20]> g (float[n, 3, 8, 8] x) => (float[n, 64, 4] y)
        <float[4, 3, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, int64[3] rows = {0, 4, -1}>
        { a = Conv(x, w) b = Relu(a) r = Reshape(b, rows) s = Abs(r)
          y = Transpose<perm=[0, 2, 1]>(s) }"""
    model = named(text)
    distinguish_dims(model)
    dims = first_dims(model)
    assert dims["a"] == dims["b"] == "n"
    assert dims["r"] == dims["s"] != "n"


def test_channels_put_first_for_a_convolution_keep_the_name_of_their_rows() -> None:
    """What the convolution adds is known to be of its size, and the sum is made in place."""
    text = """<ir_version: 9, opset_import: ["": 20]> g (float[n, 8, 8, 3] x) => (float[n, 64, 4] y)
        <float[4, 3, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
         int64[3] rows = {0, 4, -1}, float[3, 3] m = {1, 2, 3, 4, 5, 6, 7, 8, 9}>
        { p = Transpose<perm=[0, 3, 1, 2]>(x) a = Conv(p, w) d = MatMul(x, m)
          e = Transpose<perm=[0, 3, 1, 2]>(d) b = Conv(e, w) c = Add(b, a)
          r = Reshape(c, rows) y = Transpose<perm=[0, 2, 1]>(r) }"""
    model = named(text)
    before = clone(model)
    distinguish_dims(model)
    dims = first_dims(model)
    assert dims["d"] == dims["e"] == dims["b"] == dims["a"] == dims["c"]
    check(model, {"x": normal(2, 8, 8, 3)}, before=before)


def test_again_gives_the_same_names() -> None:
    model = named()
    distinguish_dims(model)
    once = first_dims(model)
    distinguish_dims(model)
    assert first_dims(model) == once


def test_known_lengths_stay() -> None:
    model = named(TEXT.replace("n, s", "2, 3"))
    assert distinguish_dims(model).count == 0


def test_optimize_does_it_last_and_tells_it_once(tmp_path: Path) -> None:
    text = TEXT.replace("x) }", "x) }").replace("c = Add(b, t)", "c = Mul(b, t)")
    first = optimize(load(model_file(tmp_path / "m.onnx", text)))
    assert "distinguish_dims" in {change.name for change in first.changes}
    path = save(first.model, tmp_path / "o.onnx")
    values = onnx.load(path).graph.value_info
    dims = {value.type.tensor_type.shape.dim[0].dim_param for value in values}
    assert any(MARK in dim for dim in dims)
    assert not optimize(load(path)).changes
    for other in (
        optimize(load(path), skip=["distinguish_dims"]),
        optimize(load(path), target="any"),
    ):
        assert "distinguish_dims" not in {change.name for change in other.changes}
