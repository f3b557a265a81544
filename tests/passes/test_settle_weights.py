from modelkit.model import const_of
from modelkit.passes.settle_weights import settle_weights
from tests.passes.harness import check, model_of, normal

TEXT = """<ir_version: 3, opset_import: ["": 7]>
g (float[n, 3] x, float[3] w) => (float[n, 3] y) <float[3] w = {1, 2, 3}> { y = Add(x, w) }"""


def test_weights_of_ir_version_3_are_no_inputs() -> None:
    before, model = model_of(TEXT), model_of(TEXT)
    assert settle_weights(model).count == 1
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert const_of(model.graph.initializers["w"]) is not None
    assert model.ir_version == 4
    check(model, {"x": normal(2, 3)}, before=before)


def test_defaults_of_newer_models_stay() -> None:
    model = model_of(TEXT.replace("ir_version: 3", "ir_version: 8"))
    assert settle_weights(model).count == 0
    assert len(model.graph.inputs) == 2
