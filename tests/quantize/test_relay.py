"""Values reached piece by piece, beside those of one run of the whole model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from modelkit.errors import CheckFailed
from modelkit.model import save
from modelkit.quantize import relay as module
from modelkit.quantize.relay import Relay
from modelkit.runtime.session import open_session
from tests.harness import floats
from tests.quantize.graphs import model_of

DEEP = """(float[n, 8] x, bool up) => (float[n, 8] y) <float[8, 8] w, float[8] b>
{ n = Shape<start=0, end=1>(x) half = Mul(x, b) a = MatMul(half, w) skip = Add(a, b)
  c = If(up) <then_branch = t () => (float[n, 8] p) { p = Add(skip, half) },
              else_branch = e () => (float[n, 8] q) { q = MatMul(skip, w) }>
  r = Relu(c) d = MatMul(r, w) ones = Expand(b, s) s = Concat<axis=0>(n, eight)
  eight = Constant<value_ints=[8]>() z = Add(d, ones) f = MatMul(z, w) y = Add(f, skip) }"""
SORTED = DEEP.replace(
    "ones = Expand(b, s) s = Concat<axis=0>(n, eight)\n  eight = Constant<value_ints=[8]>()",
    "eight = Constant<value_ints=[8]>() s = Concat<axis=0>(n, eight) ones = Expand(b, s)",
)
SEQUENCE = """(float[n, 8] x) => (float[n, 8] y) <float[8, 8] w>
{ i = Constant<value_int=0>() a = MatMul(x, w) l = SequenceConstruct(a, x)
  b = SequenceAt(l, i) c = MatMul(b, w) d = SequenceAt(l, i) e = Add(c, d) y = MatMul(e, w) }"""


def feeds(*, up: bool = True) -> list[dict[str, np.ndarray]]:
    return [{"x": floats(n, 8, seed=n), "up": np.array(up)} for n in (1, 4, 0, 3)]


def values(model: ir.Model) -> dict[str, ir.Value]:
    found = {value.name or "": value for value in model.graph.inputs}
    return found | {o.name or "": o for node in model.graph for o in node.outputs}


def walked(
    model: ir.Model, names: Sequence[str], samples: list[dict[str, np.ndarray]], folder: Path
) -> list[list[np.ndarray]]:
    folder.mkdir(exist_ok=True)
    relay = Relay(model, lambda: iter(samples), folder / "walk")
    assert relay.count == len(samples)
    known, found = values(model), []
    for place, name in enumerate(names):
        later = [known[each] for each in names[place + 1 :]]
        with relay.reach(known[name], later) as value:
            found.append([value(index) for index in range(relay.count)])
    return found


def whole(
    model: ir.Model, names: Sequence[str], samples: list[dict[str, np.ndarray]], folder: Path
) -> list[list[np.ndarray]]:
    copy = model.clone()
    made = {o.name: o for node in copy.graph for o in node.outputs}
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(made[name] for name in names if name in made)
    with open_session(save(copy, folder / "whole.onnx", force=True), optimize=False) as session:
        runs = [{**each, **session.run(each)} for each in samples]
    return [[run[name] for run in runs] for name in names]


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize(
    "names",
    [
        ("x", "half", "r", "z", "y"),
        ("half", "half", "d", "f"),
        ("z",),
        ("a", "skip", "c", "d", "ones", "z", "f", "y"),
        ("y", "half"),
    ],
)
def test_each_piece_goes_on_where_the_last_one_stopped(
    tmp_path: Path, names: Sequence[str], up: bool
) -> None:
    model, samples = model_of(SORTED), feeds(up=up)
    names = names if names != ("y", "half") else ("half", "y")
    expected = whole(model, names, samples, tmp_path)
    for found, right in zip(walked(model, names, samples, tmp_path), expected, strict=True):
        for one, other in zip(found, right, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert not list(tmp_path.rglob("*.npy"))


def test_what_cannot_lie_in_a_file_is_made_again(tmp_path: Path) -> None:
    model, names = model_of(SEQUENCE), ("b", "e", "y")
    samples = [{"x": each["x"]} for each in feeds()]
    expected = whole(model, names, samples, tmp_path)
    for found, right in zip(walked(model, names, samples, tmp_path), expected, strict=True):
        for one, other in zip(found, right, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_piece_holds_none_of_the_weights_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "(float[n, 8] x) => (float[n, 8] y) <float[8, 8] u, float[8, 8] v, float[8, 8] w>"
    model = model_of(text + "{ a = MatMul(x, u) b = MatMul(a, v) y = MatMul(b, w) }")
    pieces: list[tuple[list[str], list[str]]] = []

    def noted(copy: ir.Model, path: Path, *, force: bool) -> Path:
        pieces.append((sorted(copy.graph.initializers), [node.op_type for node in copy.graph]))
        return save(copy, path, force=force)

    monkeypatch.setattr(module, "save", noted)
    walked(model, ("a", "b", "y"), [{"x": floats(2, 8)}], tmp_path)
    assert pieces == [(["u"], ["MatMul"]), (["v"], ["MatMul"]), (["w"], ["MatMul"])]


def test_later_nodes_may_change_on_the_way(tmp_path: Path) -> None:
    text = "(float[n, 8] x) => (float[n, 8] y) <float[8, 8] w>"
    model = model_of(text + "{ a = Relu(x) b = MatMul(a, w) y = Neg(b) }")
    relay, known = (
        Relay(model, lambda: iter([{"x": floats(2, 8)}]), tmp_path / "walk"),
        values(model),
    )
    with relay.reach(known["a"], [known["y"]]) as value:
        value(0)
    weight = model.graph.initializers["w"]
    weight.const_value = ir.tensor(np.eye(8, dtype=np.float32), name="w")
    with relay.reach(known["y"], []) as value:
        np.testing.assert_array_equal(value(0), -np.maximum(floats(2, 8), 0))


def test_no_sample_and_infinity_are_told(tmp_path: Path) -> None:
    model = model_of("(float[n, 8] x) => (float[n, 8] y) { l = Log(x) y = Neg(l) }")
    with pytest.raises(CheckFailed, match="holds no sample"):
        Relay(model, lambda: iter(()), tmp_path / "none")
    for given, named in ((0.0, "'l'"), (np.nan, "'x'")):
        bad = [{"x": np.ones((1, 8), np.float32)}, {"x": np.full((1, 8), given, np.float32)}]
        with pytest.raises(
            CheckFailed, match=f"tensor {named} holds NaN or infinity on .* sample 2"
        ):
            walked(model, ("l",), bad, tmp_path / f"of_{named[1]}")
