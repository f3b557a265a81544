import pytest

from modelkit.passes.drop_unit_axes import drop_unit_axes
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.remove_unused import remove_unused
from tests.passes.harness import applied, normal, ops

PASSES = (infer_symbols, drop_unit_axes, remove_unused)
TRIALS = tuple({"x": normal(b, 3, 4)} for b in (1, 2))


def text(body: str, out: str = "i, j, k") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[a, 3, 4] x) => (float[{out}] y)
    <int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] last = {{-1}}, int64[2] both = {{0, 3}},
     int64[2] flat = {{-1, 12}}, int64[4] full = {{0, 4, 3, 1}}, int64[3] copy = {{0, 0, 4}},
     int64[4] deep = {{-1, 1, 3, 4}}, int64[4] zeros = {{0, 1, 3, -1}},
     int64[4] late = {{1, 0, 3, -1}}> {{ {body} y = Identity(r) }}"""


@pytest.mark.parametrize(
    ("body", "left", "perm"),
    [
        (
            "u = Unsqueeze(x, one) t = Transpose<perm = [0, 3, 1, 2]>(u) r = Squeeze(t, two)",
            "Transpose",
            [0, 2, 1],
        ),
        (
            "u = Unsqueeze(x, both) t = Transpose<perm = [3, 4, 1, 2, 0]>(u)"
            " e = Constant<value_ints=[0, 4]>() r = Squeeze(t, e)",
            "Transpose",
            [2, 0, 1],
        ),
        (
            "u = Unsqueeze(x, one) t = Transpose<perm = [0, 3, 1, 2]>(u) r = Reshape(t, flat)",
            "Reshape",
            None,
        ),
        (
            "u = Unsqueeze(x, last) t = Transpose<perm = [0, 1, 3, 2]>(u) r = Reshape(t, copy)",
            "Reshape",
            None,
        ),
        ("u = Reshape(x, deep) r = Squeeze(u, one)", "Reshape", None),
        ("u = Reshape(x, zeros) r = Squeeze(u, one)", "Reshape", None),
    ],
)
def test_axes_of_one_go(body: str, left: str, perm: list[int] | None) -> None:
    out = "i, j" if "flat" in body.split("r =")[1] else "i, j, k"
    model, _ = applied(text(body, out), *PASSES, trials=TRIALS)
    assert ops(model)[left] == 1
    assert not {"Unsqueeze", "Squeeze"} & set(ops(model))
    if perm is not None:
        moved = next(node for node in model.graph if node.op_type == "Transpose")
        assert list(moved.attributes["perm"].value) == perm


@pytest.mark.parametrize(
    "body",
    [
        "u = Reshape(x, late) r = Squeeze(u)",
        "u = Unsqueeze(x, one) t = Transpose(u) r = Squeeze(t, two)",
        "w = Unsqueeze(x, last) u = Identity(w) t = Transpose<perm = [0, 3, 1, 2]>(u)"
        " r = Squeeze(t, one)",
    ],
    ids=["no axes told", "no order told", "something between"],
)
def test_others_stay(body: str) -> None:
    trials = () if "late" in body else TRIALS
    model, _ = applied(text(body), *PASSES, trials=trials)
    assert "Squeeze" in ops(model)
