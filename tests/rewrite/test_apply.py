import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from modelkit.model import load, save
from modelkit.rewrite import Applied, Capture, Expr, apply, op, read_fusion
from tests.models import model_file, parsed, run


def module(before: Any, after: Any, when: Any = None, name: str = "test") -> ModuleType:
    made = ModuleType(name)
    made.before, made.after = before, after  # type: ignore[attr-defined]
    if when is not None:
        made.when = when  # type: ignore[attr-defined]
    return made


def double_negation(x: Expr) -> Expr:
    return op.Neg(op.Neg(x))


def itself(x: Capture) -> Capture:
    return x


def applied(path: Path, *modules: ModuleType, forbid: str | None = None) -> tuple[Applied, Path]:
    model = load(path)
    found = apply([read_fusion(m) for m in modules], model, allow=lambda fusion: forbid)
    return found, save(model, path.with_suffix(".out.onnx"), force=True)


def test_it_runs_until_nothing_fits_and_keeps_the_output_name(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2] x) => (float[2] y)
    { a = Neg(x) b = Neg(a) c = Neg(b) d = Neg(c) e = Exp(d) y = Abs(e) }"""
    path = model_file(tmp_path / "m.onnx", text)
    found, out = applied(path, module(double_negation, itself))
    assert found.changes[0].count == 2
    assert [node.op_type for node in load(out).graph] == ["Exp", "Abs"]
    x = {"x": np.array([1, -2], np.float32)}
    np.testing.assert_array_equal(run(path, x)["y"], run(out, x)["y"])


def test_a_graph_output_keeps_its_name(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2] x) => (float[2] y)
    { a = Exp(x) y = Neg(a) }"""
    path = model_file(tmp_path / "m.onnx", text)
    changed = module(lambda x: op.Neg(op.Exp(x)), lambda x: op.Sub(0.0, op.Exp(x)))
    _, out = applied(path, changed)
    model = load(out)
    assert [value.name for value in model.graph.outputs] == ["y"]
    x = {"x": np.array([1, -2], np.float32)}
    np.testing.assert_array_equal(run(path, x)["y"], run(out, x)["y"])


def test_a_refusal_and_a_forbidden_fusion_are_near_misses(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2] x) => (float[2] y)
    { a = Neg(x) [here] y = Neg(a) }"""
    path = model_file(tmp_path / "m.onnx", text)
    refusing = module(double_negation, itself, when=lambda x: f"shape {list(x.shape)}")
    found, _ = applied(path, refusing)
    assert [(miss.node, miss.reason) for miss in found.near_misses] == [("here", "shape [2]")]
    found, _ = applied(path, module(double_negation, itself), forbid="not here")
    assert found.near_misses[0].reason == "not here"
    assert found.changes == ()


def test_a_shared_part_stays_for_its_other_reader(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]> g (float[2] x) => (float[2] y, float[2] z)
    { a = Neg(x) y = Neg(a) z = Exp(a) }"""
    path = model_file(tmp_path / "m.onnx", text)
    found, _ = applied(path, module(double_negation, itself))
    assert "read elsewhere" in found.near_misses[0].reason
    sharing = module(lambda x: op.Neg(op.Neg(x).shared()), lambda x: op.Identity(x))
    found, out = applied(path, sharing)
    assert found.changes[0].count == 1
    x = {"x": np.array([1, -2], np.float32)}
    for name, value in run(path, x).items():
        np.testing.assert_array_equal(run(out, x)[name], value)


def test_ten_times_the_nodes_take_ten_times_the_time(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        nodes = [onnx.helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(2 * count)]
        model = parsed(
            """<ir_version: 10, opset_import: ["": 20]> g (float[2] v0) => (float[2] y)
            { y = Abs(v0) }"""
        )
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.node.append(onnx.helper.make_node("Abs", [f"v{2 * count}"], ["y"]))
        path = tmp_path / f"{count}.onnx"
        path.write_bytes(model.SerializeToString())
        loaded = load(path)
        start = time.process_time()
        found = apply([read_fusion(module(double_negation, itself))], loaded, allow=lambda f: None)
        assert found.changes[0].count == count
        return time.process_time() - start

    seconds(100)
    small, large = seconds(500), seconds(5000)
    # Quadratic growth would be a factor of 100; linear with noise stays far below 40.
    assert large < 40 * max(small, 1e-3)
