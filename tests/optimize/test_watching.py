from pathlib import Path

import pytest

from modelkit.model import Model, load, save
from modelkit.optimize import Choice, optimize_file, rewritten
from modelkit.optimize.watching import Spoiled, watching
from tests.passes.harness import model_of, ops

TEXT = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 4] x) => (float[n, 4] y) { i = Identity(x) r = Relu(i) y = Neg(r) }"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save(model_of(TEXT), tmp_path / "m.onnx")


def test_a_right_rewrite_passes_and_a_wrong_one_is_named(source: Path, tmp_path: Path) -> None:
    watch = watching(source, tmp_path)
    model = load(source)
    watch("nothing", model)
    model.graph[1].op_type = "Sigmoid"
    with pytest.raises(Spoiled) as caught:
        watch("a_wrong_one", model)
    assert caught.value.name == "a_wrong_one"
    assert "y" in caught.value.cause


def test_what_no_longer_runs_is_spoiled_too(source: Path, tmp_path: Path) -> None:
    model = load(source)
    model.graph[1].op_type = "NoSuchOperator"
    with pytest.raises(Spoiled):
        watching(source, tmp_path)("a_wrong_one", model)


def test_every_rewrite_is_compared(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    right = watching

    def counting(*arguments: object, **options: object) -> object:
        watch = right(*arguments, **options)  # type: ignore[arg-type]

        def both(name: str, model: Model) -> None:
            seen.append(name)
            watch(name, model)

        return both

    monkeypatch.setattr("modelkit.optimize.watching", counting)
    report = optimize_file(str(source), measure=False, check=True)
    assert seen == ["remove_identity", "convert_opset"]
    assert "Identity" not in report.operators_after
    assert ops(rewritten(load(source), Choice("basic")).model) == report.operators_after
