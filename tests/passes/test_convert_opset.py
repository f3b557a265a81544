import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from modelkit.errors import Unsupported
from modelkit.model import clone
from modelkit.passes.convert_opset import convert_opset
from tests.passes.harness import Feeds, check, model_of, normal, ops
from tests.rewrite.test_winograd import written

BRANCH = """<ir_version: 7, opset_import: ["": 11]>
g (bool c, float[n, 3] x) => (float[n, m] y) {
  y = If(c) <
    then_branch = t () => (float[n, m] p) { p = ReduceSum<axes = [1]>(x) },
    else_branch = e () => (float[n, m] q) { q = ReduceMax<axes = [1]>(x) }>
}"""
FUNCTION = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
g (float[n, 3] x) => (float[n, m] y) { y = own.total(x) }
<domain: "own", opset_import: ["": 17]>
total (v) => (w) { w = ReduceMean<axes = [1]>(v) }"""
CONTRIB = """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
g (float[n, 3] x) => (float[n, m] y) {
  z = com.microsoft.FastGelu(x)
  y = ReduceMax<axes = [1]>(z)
}"""
SOFTMAX = """<ir_version: 7, opset_import: ["": 11]>
g (float[n, 3, 4] x) => (float[n, 3, 4] y) { y = Softmax<axis = 1>(x) }"""
NORMS = """<ir_version: 4, opset_import: ["": 9]>
g (float[n, 2, 3, 3] x) => (float[n, 2, 3, 3] y)
<float[2] s = {1.0, 2.0}, float[2] b = {0.5, 0.25}, float[2] m = {0.1, 0.2},
 float[2] v = {1.5, 2.5}> {
  d = Dropout<ratio = 0.5>(x)
  y = BatchNormalization(d, s, b, m, v)
}"""
UPSAMPLE = """<ir_version: 4, opset_import: ["": 9]>
g (float[n, 1, 4, 4] x) => (float[n, 1, i, j] y) <float[4] s = {1.0, 1.0, 1.5, 2.5}> {
  y = Upsample<mode = "linear">(x, s)
}"""
RESIZE = UPSAMPLE.replace('"": 9', '"": 10').replace("Upsample", "Resize").replace(": 4,", ": 5,")
SEVEN = """<ir_version: 3, opset_import: ["": 7]>
g (float[n, 1, 4, 4] x) => (float[n, 1, i, j] y) {
  u = Upsample<scales = [1.0, 1.0, 2.0, 2.0]>(x)
  d = Dropout<ratio = 0.5>(u)
  s = Softmax<axis = 1>(d)
  y = MaxPool<kernel_shape = [2, 2]>(s)
}"""
LOOP = """<ir_version: 7, opset_import: ["": 11]>
g (float[n, 3] x, int64 rounds) => (float[n, 3] y) <bool go = {1}> {
  y = Loop(rounds, go, x) <
    body = b (int64 i, bool c, float[n, 3] v) => (bool c2, float[n, 3] w) {
      c2 = Identity(c)
      m = ReduceSum<axes = [1]>(v)
      u = Unsqueeze<axes = [0]>(m)
      q = Squeeze<axes = [0]>(u)
      w = Div(v, q)
    }>
}"""
GROUPS = """<ir_version: 8, opset_import: ["": 18]>
g (float[n, 4, 3] x) => (float[n, 4, 3] y)
<float[2] s = {1.0, 2.0}, float[2] b = {0.5, 0.25}> {
  y = GroupNormalization<num_groups = 2>(x, s, b)
}"""


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (FUNCTION, (4, 3)),
        (CONTRIB, (4, 3)),
        (SOFTMAX, (2, 3, 4)),
        (NORMS, (2, 2, 3, 3)),
        (UPSAMPLE, (2, 1, 4, 4)),
        (UPSAMPLE.replace("linear", "nearest"), (2, 1, 4, 4)),
        (RESIZE, (2, 1, 4, 4)),
        (RESIZE.replace("linear", "nearest"), (2, 1, 4, 4)),
    ],
    ids=["function", "contrib", "softmax", "norms", "upsample", "upsample nearest", "resize",
         "resize nearest"],
)  # fmt: skip
@pytest.mark.parametrize("version", [18, 21, 23])
def test_numbers_stay(text: str, shape: tuple[int, ...], version: int) -> None:
    converted(text, version, {"x": normal(*shape)})


@pytest.mark.parametrize("version", [21, 23])
def test_scales_of_groups_become_scales_of_channels(version: int) -> None:
    converted(GROUPS, version, {"x": normal(2, 4, 3)})


@pytest.mark.parametrize("version", [13, 18, 23])
def test_reductions_in_branches(version: int) -> None:
    for taken in (True, False):
        converted(BRANCH, version, {"c": np.array(taken), "x": normal(4, 3)})


@pytest.mark.parametrize("version", [9, 13, 18, 23])
def test_from_the_oldest_opset(version: int) -> None:
    converted(SEVEN, version, {"x": normal(2, 1, 4, 4)})


@pytest.mark.parametrize("version", [13, 18, 23])
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_inside_a_loop(version: int, rounds: int) -> None:
    converted(LOOP, version, {"x": abs(normal(2, 3)), "rounds": np.array(rounds)})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells it on Linux only")
def test_weights_beyond_what_protobuf_holds(tmp_path: Path) -> None:
    rows = 700_000_000
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[rows], data_location=1)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(rows * 4))):
        tensor.external_data.add(key=key, value=value)
    proto = onnx.parser.parse_model(
        """<ir_version: 7, opset_import: ["": 11]> g (float[1] x) => (float[1] y)
        { s = Add(x, w)  y = ReduceMax<axes = [0]>(s) }"""
    )
    proto.graph.initializer.append(tensor)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(rows * 4)
    code = (
        "import sys; from pathlib import Path; from modelkit.model import load\n"
        "from modelkit.passes.convert_opset import convert_opset\n"
        "model = load(Path(sys.argv[1]))\n"
        "convert_opset(model, 21)\n"
        "assert model.graph.initializers['w'].const_value.nbytes == 2_800_000_000\n"
        "assert [n.op_type for n in model.graph if n.op_type == 'ReduceMax']\n"
        "lines = Path('/proc/self/status').read_text().splitlines()\n"
        "print(next(line.split()[1] for line in lines if line.startswith('VmHWM')))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400 * 1024


def converted(text: str, version: int, feeds: Feeds) -> None:
    before = model_of(text)
    after = clone(before)
    convert_opset(after, version)
    assert after.opset_imports[""] == version
    assert after.ir_version >= {9: 4, 13: 7, 18: 8, 21: 10, 23: 11}[version]
    check(after, feeds, exact=False, before=before)


def test_down_as_well() -> None:
    text = """<ir_version: 11, opset_import: ["": 23]>
    g (float[n, 3] x) => (float[n, m] y) <int64[1] a = {1}> { y = ReduceMean(x, a) }"""
    before = model_of(text)
    after = clone(before)
    convert_opset(after, 17)
    assert ops(after) == {"ReduceMean": 1}
    check(after, {"x": normal(4, 3)}, exact=False, before=before)


def test_large_weights_and_metadata_pass_through_untouched() -> None:
    model = model_of(
        """<ir_version: 7, opset_import: ["": 11], metadata_props: ["key": "kept"]>
    g (float[n, 600] x) => (float[n, 600] y) { y = Add(x, w) }""".replace(
            "x) =>", "x, float[600] w) =>"
        )
    )
    weight = ir.tensor(normal(600), name="w")
    value = model.graph.inputs.pop()
    value.const_value = weight
    model.graph.register_initializer(value)
    model.graph.metadata_props["graph"] = "kept too"
    convert_opset(model, 18)
    assert model.graph.initializers["w"].const_value is weight
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert model.metadata_props["key"] == "kept"
    assert model.graph.metadata_props["graph"] == "kept too"


@pytest.mark.parametrize("version", [6, 27])
def test_opsets_out_of_range_are_refused(version: int) -> None:
    with pytest.raises(Unsupported, match=f"cannot become opset {version}"):
        convert_opset(model_of(SOFTMAX), version)


def test_an_operator_with_no_older_form_is_refused() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[4, 4] x) => (float[4, 4] y) { y = Trilu(x) }"""
    with pytest.raises(Unsupported, match="cannot become opset 13"):
        convert_opset(model_of(text), 13)


def test_the_same_opset_is_no_work() -> None:
    assert convert_opset(model_of(SOFTMAX), 11).count == 0


def test_winograds_functions_become_convolutions() -> None:
    model = written()
    convert_opset(model, 20)
    assert ops(model) == {"Conv": 2, "Abs": 1}
