import pytest

from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.remove_expands import remove_expands
from modelkit.passes.remove_unused import remove_unused
from tests.passes.harness import applied, normal, ops


def text(body: str, gate: str = "n, 3, 1", out: str = "i, j, k", more: str = "") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 3, 4] x, float[{gate}] g{more}) => (float[{out}] y)
    <int64[3] one = {{1, 1, 4}}, int64[3] five = {{5, 1, 1}}, int64[3] three = {{1, 3, 4}}> {{
    a = Relu(x) s = Shape(a) {body} }}"""


def counted(source: str, *gates: tuple[int, ...]) -> tuple[dict[str, int], int]:
    lengths = (1, 3, 0)
    trials = [
        {"x": normal(n, 3, 4), "g": normal(*(n if size == -1 else size for size in gate))}
        for n in lengths
        for gate in gates or ((-1, 3, 1),)
    ]
    passes = (lift_constants, infer_symbols, remove_expands, remove_unused)
    model, _ = applied(source, *passes, trials=tuple(trials))
    found = ops(model)
    return found, found.get("Expand", 0)


@pytest.mark.parametrize(
    "reader",
    ["Mul(a, e)", "Mul(e, a)", "Sub(e, a)", "Pow(a, e)", "Max(a, e, a)", "Sum(a, e)"],
)
def test_what_broadcasts_reads_what_was_expanded(reader: str) -> None:
    found, left = counted(text(f"e = Expand(g, s) y = {reader}"))
    assert left == 0
    assert "Shape" not in found


def test_a_constant_shape_and_fewer_axes() -> None:
    assert counted(text("e = Expand(g, three) y = Add(a, e)", gate="3, 1"), (3, 1))[1] == 0


def test_where_and_comparisons() -> None:
    body = "e = Expand(g, s) c = Greater(a, e) y = Where(c, a, e)"
    assert counted(text(body))[1] == 0


@pytest.mark.parametrize(
    ("body", "gate", "sizes"),
    [
        ("e = Expand(g, s) y = Relu(e)", "n, 3, 1", (-1, 3, 1)),
        ("e = Expand(g, s) y = MatMul(a, e)", "n, 1, 4", None),
        ("e = Expand(g, s) f = Mul(a, e) r = Relu(e) y = Add(f, r)", "n, 3, 1", (-1, 3, 1)),
        ("e = Expand(g, s) y = Mul(e, g)", "n, 3, 1", (-1, 3, 1)),  # nothing else is as large
        ("e = Expand(g, s) y = Mul(e, e)", "n, 3, 1", (-1, 3, 1)),
        ("m = ReduceMax<axes=[0]>(a) e = Expand(g, five) y = Mul(m, e)", "1, 3, 1", (1, 3, 1)),
    ],
)
def test_what_needs_the_size_keeps_it(body: str, gate: str, sizes: tuple[int, ...] | None) -> None:
    if sizes is None:
        body, sizes = body.replace("MatMul(a, e)", "Concat<axis=0>(a, e)"), (-1, 1, 4)
    feeds_of = body.startswith("m =")
    source = text(body, gate=gate)
    if feeds_of:  # no rows have no largest
        model, _ = applied(
            source, lift_constants, infer_symbols, remove_expands,
            trials=({"x": normal(2, 3, 4), "g": normal(1, 3, 1)},),
        )  # fmt: skip
        assert ops(model)["Expand"] == 1
    else:
        assert counted(source, sizes)[1] == 1


def test_lengths_that_are_not_known_to_be_equal_stay() -> None:
    source = text("e = Expand(g, s) y = Mul(a, e)", gate="m, 3, 1")
    assert counted(source)[1] == 1


def test_an_output_stays() -> None:
    source = text("y = Expand(g, s) z = Mul(a, y)").replace(
        "(float[i, j, k] y)", "(float[i, j, k] y, float[o, p, q] z)"
    )
    assert counted(source)[1] == 1
