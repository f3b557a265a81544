from pathlib import Path

import pytest

from modelkit.model import load, save
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.quantize import island_ends
from modelkit.rewrite import apply, read_fusion
from tests.harness import floats
from tests.models import model_file, run

TEXT = """<ir_version: 10, opset_import: ["": 20]> g (float[n, 3, 8, 8] x) => (float[n, m, LAST] y)
<float[32, 3, 3, 3] v, float[48, 32, 1, 1] w, float[48] b> {
p = Conv(x, v) r = Relu(p) c = Conv<ATTRIBUTES>(r, w, b) t = Transpose<perm=[0, 2, 3, 1]>(c)
s = Constant<value_ints=[0, -1, LAST]>() y = Reshape(t, s) }"""


@pytest.mark.parametrize(
    ("attributes", "last", "count"),
    [
        ("kernel_shape=[1, 1]", 48, 1),
        ("kernel_shape=[1, 1]", 4, 0),
        ("strides=[2, 2]", 48, 0),
    ],
)
def test_pixels_that_become_rows_are_linear_layers(
    tmp_path: Path, attributes: str, last: int, count: int
) -> None:
    text = TEXT.replace("ATTRIBUTES", attributes).replace("LAST", str(last))
    before = model_file(tmp_path / "m.onnx", text)
    model = load(before)
    lift_constants(model)
    infer_symbols(model)
    found = apply([read_fusion(island_ends)], model, allow=lambda fusion: None)
    assert sum(change.count for change in found.changes) == count
    after = save(model, tmp_path / "after.onnx")
    for batch in (1, 3):
        feeds = {"x": floats(batch, 3, 8, 8)}
        assert run(after, feeds)["y"] == pytest.approx(run(before, feeds)["y"], abs=1e-4)
