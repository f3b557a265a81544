from pathlib import Path

import pytest

from modelkit.errors import Unsupported
from modelkit.model import Model, load
from modelkit.optimize.choice import Choice
from modelkit.optimize.levels import optimize, rewritten
from tests.models import model_file
from tests.passes.harness import check, model_of, normal, ops
from tests.rewrite.test_winograd import written, written_open

GELU = """<ir_version: 10, opset_import: ["": 21]>
g (float[batch, 4] x) => (float[batch, 4] y)
<float half = {0.5}, float one = {1.0}, float root = {1.4142135623730951}> {
  i = Identity(x)
  a = Div(i, root)
  b = Erf(a)
  c = Add(b, one)
  d = Mul(i, c)
  y = Mul(d, half)
}"""
TRIALS = ({"x": normal(3, 4)}, {"x": normal(1, 4, seed=1)}, {"x": normal(0, 4)})


@pytest.mark.parametrize("opset", [11, 17, 20, 23])
def test_the_opset_asked_for_is_written(opset: int) -> None:
    before = model_of(GELU)
    done = optimize(before, opset=opset)
    assert done.model.opset_imports[""] == opset
    assert ("Gelu" in ops(done.model)) == (opset >= 20)
    check(done.model, *TRIALS, exact=False, before=before)


def test_an_old_runtime_gets_what_it_opens() -> None:
    before = model_of(GELU)
    done = optimize(before, runtime="ort==1.14")
    assert (done.model.opset_imports[""], done.model.ir_version) == (18, 8)
    check(done.model, *TRIALS, exact=False, before=before)
    newer = optimize(model_of(GELU.replace('"": 21', '"": 17')), runtime="ort==1.17")
    assert newer.model.opset_imports[""] == 20
    assert "Gelu" in ops(newer.model)


def test_what_has_no_older_form_is_refused() -> None:
    text = """<ir_version: 10, opset_import: ["": 21]>
    g (float[4, 4] x) => (float[4, 4] y) { y = Trilu(x) }"""
    with pytest.raises(Unsupported, match="opset 21 cannot become opset 13"):
        optimize(model_of(text), opset=13)


def test_the_watch_sees_each_rewrite_that_changed_the_model() -> None:
    seen: list[tuple[str, int]] = []

    def watch(name: str, model: Model) -> None:
        seen.append((name, len(model.graph)))

    rewritten(model_of(GELU), Choice(), watch)
    names = [name for name, _ in seen]
    assert names.index("remove_identity") < names.index("convert_opset") < names.index("gelu_erf")
    assert seen[-1][1] == 1


def test_a_model_that_was_optimized_before_becomes_the_same() -> None:
    before = written()
    once = optimize(before).model
    twice = optimize(once).model
    assert ops(twice) == ops(once) == {"modelkit.WinogradConv": 2, "Abs": 1}
    assert len(twice.functions) == 1
    once = optimize(written_open()).model
    assert ops(optimize(once).model) == ops(once)


def test_a_lower_level_takes_functions_of_a_higher_one_back() -> None:
    made = optimize(written(), level="basic").model
    assert ops(made) == {"Conv": 2, "Abs": 1}
    assert not made.functions
    made = optimize(written_open(), level="basic").model
    assert ops(made) == {"Conv": 3, "Relu": 1, "Abs": 1}


@pytest.mark.parametrize(("rows", "skip", "told"), [("n", "", 1), ("2", "", 0), ("n", "gemm", 0)])
def test_that_no_rows_are_refused_is_said(rows: str, skip: str, told: int, tmp_path: Path) -> None:
    layer = f"""<ir_version: 10, opset_import: ["": 21]> g (float[{rows}, 1024] x) => (float[m, k] y)
    <float[1024, 1024] w> {{ y = MatMul(x, w) }}"""
    model = load(model_file(tmp_path / "layer.onnx", layer))
    notes = rewritten(model, Choice(skip=(f"{skip}_as_conv",) if skip else ())).notes
    assert [note.endswith("(--skip gemm_as_conv keeps MatMul)") for note in notes] == [True] * told
