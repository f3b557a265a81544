import pytest

from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.merge_concats import merge_concats
from modelkit.passes.remove_unused import remove_unused
from tests.passes.harness import applied, normal, ops

TRIALS = tuple({"x": normal(n, 4), "z": normal(n, 4, seed=1)} for n in (1, 3, 0))


def left(body: str) -> dict[str, int]:
    text = f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 4] x, float[n, 4] z) => (float[n, m] y)
    <int64[1] i = {{0}}, int64[1] a = {{1}}> {{ {body} }}"""
    model, _ = applied(text, infer_symbols, merge_concats, remove_unused, trials=TRIALS)
    return ops(model)


@pytest.mark.parametrize(
    ("body", "operators"),
    [
        ("c = Concat<axis = 1>(x, z) y = Concat<axis = -1>(z, c, x)", {"Concat": 1}),
        ("a1, b1 = Split<axis = 1>(x) c = Concat<axis = -1>(a1, b1) y = Neg(c)", {"Neg": 1}),
        ("e = Slice(x, i, i, a) y = Concat<axis = 1>(x, e, z)", {"Concat": 1}),
    ],
)
def test_what_can_be_merged_is(body: str, operators: dict[str, int]) -> None:
    assert left(body) == operators


@pytest.mark.parametrize(
    ("body", "concats"),
    [
        (
            "c = Concat<axis = 1>(x, z) d = Concat<axis = 1>(c, x) f = Relu(c) y = Concat<axis = 1>(d, f)",
            2,
        ),
        ("c = Concat<axis = 0>(x, z) d = Concat<axis = 0>(z, x) y = Concat<axis = 1>(c, d)", 3),
        ("a1, b1 = Split<axis = 1>(x) y = Concat<axis = 1>(b1, a1)", 1),
    ],
)
def test_what_cannot_be_merged_stays(body: str, concats: int) -> None:
    assert left(body)["Concat"] == concats
