from modelkit.passes.keep_paddings import keep_paddings
from tests.passes.harness import check, model_of, normal, ops

TEXT = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 2, 8, 8] x) => (float[n, 2, a, b] y)
    <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}> {
    m = Neg(x) q = Pad(m, p) y = POOL<kernel_shape = [3, 3]>(q) }"""


def test_what_is_written_again_is_counted_and_told() -> None:
    model, before = (model_of(TEXT.replace("POOL", "MaxPool")) for _ in range(2))
    found = keep_paddings(model)
    assert found.count == 1
    assert found.notes[0].startswith("1 padding before a pooling is by the smallest number")
    check(model, {"x": normal(2, 2, 8, 8)}, exact=False, before=before)
    assert keep_paddings(model).count == 0


def test_other_models_are_not_looked_at() -> None:
    model = model_of(TEXT.replace("POOL", "LpPool"))
    assert keep_paddings(model).notes == ()
    assert ops(model) == {"Neg": 1, "Pad": 1, "LpPool": 1}
