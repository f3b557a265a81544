import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelkit.errors import BadInput
from modelkit.inspection import inspect_file
from modelkit.inspection import lint as module
from modelkit.model import add_step, load, save
from modelkit.reports import InspectReport
from tests.models import linear_text, model_file, parsed

BRANCHES = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
g (float[n, 4] x, bool c) => (float[n, 4] y, float[?, 4] z)
<float[4] w = {1, 2, 3, 4}> {
  [first] z = own.Twice(x)
  [second] y = If(c) <
    then_branch = t () => (float[n, 4] a) { [third] a = Add(x, w) },
    else_branch = e () => (float[n, 4] b) <float[4] v = {5, 6, 7, 8}> { [fourth] b = Mul(x, v) }
  >
}
<domain: "own", opset_import: ["": 17]>
Twice (p) => (q) {
  [fifth] two = Constant <value = float[1] {2}> ()
  [sixth] q = Mul(p, two)
}"""

# What `inspect` costs a process that does nothing else: CPU seconds, and kilobytes at the peak.
MEASURED = """
import sys, time
from pathlib import Path
from modelkit.inspection import inspect_file
from modelkit.inspection import lint as module
inspect_file(sys.argv[1])
status = Path("/proc/self/status").read_text().splitlines()
print(time.process_time(), next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def inspected(path: Path, proto: onnx.ModelProto) -> InspectReport:
    path.write_bytes(proto.SerializeToString())
    return inspect_file(str(path))


def with_weights(tmp_path: Path, *arrays: np.ndarray, used: bool = True) -> InspectReport:
    """A model that adds ``arrays`` up, or reads none of them."""
    names = [f"w{number}" for number in range(len(arrays))]
    weights = [numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True)]
    kind = weights[0].data_type
    graph = helper.make_graph(
        [helper.make_node("Sum", ["x", *names] if used else ["x"], ["y"], "sum")],
        "g",
        [helper.make_tensor_value_info("x", kind, ["n"])],
        [helper.make_tensor_value_info("y", kind, ["n"])],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opset)
    return inspected(tmp_path / "w.onnx", model)


def named(proto: onnx.ModelProto) -> onnx.ModelProto:
    for number, node in enumerate(proto.graph.node):
        node.name = f"n{number}"
    return proto


def test_signature_versions_operators_and_sizes(tmp_path: Path) -> None:
    report = inspected(tmp_path / "m.onnx", named(parsed(linear_text(8, 300, opset=20))))
    assert [(v.name, v.dtype, v.shape) for v in report.inputs] == [("x", "float32", ("n", 8))]
    assert [(v.name, v.dtype, v.shape) for v in report.outputs] == [("y", "float32", ("n", 300))]
    assert report.operators == {"Add": 1, "MatMul": 1}
    assert report.file.parameters == 2700
    assert (report.file.opset, report.file.ir_version) == ({"": 20}, 10)
    assert report.bytes_by_dtype == {"float32": 10_800}
    assert report.largest == (("w", "float32[8,300]", 9600), ("b", "float32[300]", 1200))
    assert report.lint == ()


def test_subgraphs_and_functions_count(tmp_path: Path) -> None:
    report = inspected(tmp_path / "m.onnx", onnx.parser.parse_model(BRANCHES))
    assert report.operators == {"Mul": 2, "Add": 1, "Constant": 1, "If": 1, "own.Twice": 1}
    assert report.bytes_by_dtype == {"float32": 36}
    assert [name for name, _, _ in report.largest] == ["w", "v", "two"]
    assert report.outputs[1].shape == ("?", 4)
    # All is read by somebody, and the model brings its own operator.
    assert report.lint == ()


def test_an_unknown_rank_is_not_a_scalar(tmp_path: Path) -> None:
    proto = parsed(linear_text(2, 2))
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert inspected(tmp_path / "m.onnx", proto).outputs[0].shape == ("...",)


def test_inputs_of_old_models_that_are_weights_are_not_listed(tmp_path: Path) -> None:
    proto = parsed(linear_text(2, 2, opset=7))
    proto.ir_version = 3
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 2]))
    proto.graph.input.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [2]))
    assert [value.name for value in inspected(tmp_path / "m.onnx", proto).inputs] == ["x"]


def test_history_lists_the_steps_oldest_first_and_harmless(tmp_path: Path) -> None:
    model = load(model_file(tmp_path / "m.onnx", linear_text(2, 2)))
    add_step(model, "convert", {"opset": 17}, "0" * 64)
    add_step(model, "opti\x1b]52;mize", {}, "1" * 64)
    first, second = inspect_file(str(save(model, tmp_path / "n.onnx"))).history
    assert first.startswith("convert by modelkit ")
    assert "{'opset': 17}" in first
    assert second.startswith(r"opti\x1b]52;mize by modelkit ")


def test_lint_finds_what_nobody_reads(tmp_path: Path) -> None:
    report = with_weights(tmp_path, np.zeros(4, np.float32), used=False)
    assert report.lint == ("1 initializers nobody reads (16 bytes), as 'w0'",)
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n] x) => (float[n] y) { [a] y = Neg(x) [b] z = Exp(x) [c] v = Abs(z) }"""
    report = inspected(tmp_path / "m.onnx", onnx.parser.parse_model(text))
    assert report.lint == ("1 nodes whose results nobody reads, as Abs 'c'",)


def test_lint_finds_an_idle_node_in_a_branch(tmp_path: Path) -> None:
    text = BRANCHES.replace("[third] a = Add(x, w)", "[third] a = Add(x, w) [idle] i = Neg(x)")
    report = inspected(tmp_path / "m.onnx", onnx.parser.parse_model(text))
    assert report.lint == ("1 nodes whose results nobody reads, as Neg 'idle'",)


def test_lint_finds_copies(tmp_path: Path) -> None:
    one = np.arange(4, dtype=np.float32)
    report = with_weights(tmp_path, one, one + 1, one, one)
    assert report.lint == ("2 small constants are copies of others, as 'w2'",)


@pytest.mark.parametrize(
    ("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_lint_finds_non_finite_values(
    tmp_path: Path, value: float, word: str, dtype: type[np.floating]
) -> None:
    report = with_weights(tmp_path, np.array([1, value], dtype))
    assert report.lint == (f"1 small constants hold {word}, as 'w0'",)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_values_whose_sum_overflows_are_finite(tmp_path: Path, dtype: type[np.floating]) -> None:
    # Attention masks hold the lowest float of their type.
    lowest = np.full(8, np.finfo(dtype).min, dtype)
    assert with_weights(tmp_path, lowest, np.full(8, 2, dtype)).lint == ()


def test_bfloat16_strings_and_int4_are_read(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["b"], ["y"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Identity", ["s"], ["t"], "same"),
        helper.make_node("Cast", ["q"], ["r"], "wide", to=TensorProto.INT8),
    ]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [2]),
        helper.make_tensor_value_info("t", TensorProto.STRING, [2]),
        helper.make_tensor_value_info("r", TensorProto.INT8, [4]),
    ]
    weights = [
        helper.make_tensor("b", TensorProto.BFLOAT16, [2], [1.0, float("nan")]),
        helper.make_tensor("s", TensorProto.STRING, [2], [b"ab", b"cde"]),
        helper.make_tensor("q", TensorProto.INT4, [4], [1, -2, 3, 4]),
    ]
    graph = helper.make_graph(nodes, "g", [], outputs, weights)
    opset = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, ir_version=10, opset_imports=opset)
    report = inspected(tmp_path / "m.onnx", model)
    assert report.bytes_by_dtype == {"string": 5, "bfloat16": 4, "int4": 2}
    assert report.lint == ("1 small constants hold NaN, as 'b'",)


def test_lint_counts_nodes_without_a_name_and_names_foreign_domains(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
    g (float[n] x) => (float[n] y) { z = Neg(x) [named] y = com.microsoft.Gelu(z) }"""
    report = inspected(tmp_path / "m.onnx", onnx.parser.parse_model(text))
    assert report.lint[0].startswith("1 node has no name")
    assert report.lint[1] == "needs a runtime with operators of com.microsoft"
    assert report.operators == {"Neg": 1, "com.microsoft.Gelu": 1}


def test_lint_compares_versions_with_the_installed_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "m.onnx")
    inspected(Path(path), named(parsed(linear_text(2, 2, opset=20))))
    monkeypatch.setattr(module, "_installed_runtime", lambda: (1, 16))
    opset, version = inspect_file(path).lint
    assert opset == "opset 20 is newer than the installed ONNX Runtime 1.16 opens (19)"
    assert version == "IR version 10 is newer than the installed ONNX Runtime 1.16 opens (9)"
    for installed in ((1, 18), (9, 0), ()):
        monkeypatch.setattr(module, "_installed_runtime", lambda found=installed: found)
        assert inspect_file(path).lint == ()


def test_versions_that_no_runtime_opens(tmp_path: Path) -> None:
    proto = named(parsed(linear_text(2, 2)))
    proto.opset_import[0].version = proto.ir_version = 99
    opset, version = inspected(tmp_path / "m.onnx", proto).lint
    assert opset.startswith("opset 99 is newer than")
    assert version.startswith("IR version 99 is newer than")


def test_names_from_the_model_are_harmless_in_the_lint(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n] x) => (float[n] y) { [a] y = Neg(x) [b] z = Exp(x) }"""
    proto = onnx.parser.parse_model(text)
    proto.graph.node[1].name = "\x1b[31mred\u202e" + "n" * 1000
    (line,) = inspected(tmp_path / "m.onnx", proto).lint
    assert r"\x1b[31mred\u202e" in line
    assert "\x1b" not in line
    assert len(line) < 400


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothere"):
        inspect_file(str(tmp_path / "nothere.onnx"))


def test_three_gigabytes_of_weights_are_not_read(tmp_path: Path) -> None:
    each, number = 256 << 20, 12
    with (tmp_path / "m.data").open("wb") as file:
        file.truncate(each * number)
    weights = []
    for index in range(number):
        tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[each // 4])
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": "m.data", "offset": index * each, "length": each}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        weights.append(tensor)
    output = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [each // 4])]
    node = helper.make_node("Sum", [tensor.name for tensor in weights], ["y"], "sum")
    graph = helper.make_graph([node], "g", [], output, weights)
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), path)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    seconds, kilobytes = map(float, done.stdout.split())
    assert seconds < 1.5
    assert kilobytes < 200_000
    report = inspect_file(str(path))
    assert report.bytes_by_dtype == {"float32": each * number}
    assert report.file.bytes == each * number + path.stat().st_size
