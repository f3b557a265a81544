import numpy as np
import pytest

from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.read_uniform import read_uniform
from modelkit.passes.remove_unused import remove_unused
from tests.passes.harness import applied, ops

PASSES = (lift_constants, infer_symbols, read_uniform, remove_unused)
HEAD = '<ir_version: 9, opset_import: ["": 18]> g (int64[n, s] x)'


def table(name: str, rows: int) -> str:
    """Values that add up without rounding."""
    values = np.random.default_rng(rows).integers(-99, 99, rows * 4) / 4
    return f"float[{rows}, 4] {name} = {{{', '.join(map(str, values))}}}"


TABLES = ", ".join((table("words", 9), table("places", 7), table("kinds", 3)))
ZEROS = """sn = Shape(x) zero = Constant<value_int=0>()
    buffer = Constant<value = int64[1, 7] {0, 0, 0, 0, 0, 0, 0}>()
    t0 = Identity(zero) kind = Expand(t0, sn) tk = Gather(kinds, kind)"""
COUNTS = """at = Constant<value_ints=[0]>() along = Constant<value_ints=[1]>()
    ids = Constant<value = int64[1, 7] {0, 1, 2, 3, 4, 5, 6}>()
    s = Shape<start=1, end=2>(x) own = Slice(ids, at, s, along)"""


def feeds(*shapes: tuple[int, int]) -> tuple[dict[str, np.ndarray], ...]:
    return tuple({"x": np.random.default_rng(0).integers(0, 9, shape)} for shape in shapes)


SHAPES = ((2, 5), (1, 7), (3, 0), (0, 4))


def embedded(sums: str, more: str = "") -> str:
    return f"""{HEAD} => (float[n, s, 4] y) <{TABLES}> {{
    {ZEROS} {COUNTS} w = Gather(words, x) p = Gather(places, own) {more} {sums} }}"""


def test_the_row_of_the_only_kind_goes_into_the_table_of_places() -> None:
    text = embedded("a = Add(w, tk) y = Add(a, p)")
    model, _ = applied(text, *PASSES, trials=feeds(*SHAPES))
    assert ops(model) == {"Gather": 2, "Shape": 1, "Slice": 1, "Add": 1}


def test_without_another_table_the_row_is_added() -> None:
    model, _ = applied(embedded("y = Add(tk, w)"), *PASSES, trials=feeds(*SHAPES))
    assert ops(model) == {"Gather": 1, "Add": 1}


def test_a_table_that_others_read_stays_as_it_is() -> None:
    text = embedded("a = Add(w, tk) b = Add(a, p) y = Add(b, q)", "q = Gather(places, own)")
    model, _ = applied(text, *PASSES, trials=feeds((2, 5)))
    tables = [value.name for value in model.graph.initializers.values()]
    assert "places" in tables


@pytest.mark.parametrize(
    "sums",
    [
        "a = Mul(w, tk) y = Add(a, p)",
        "y = Add(tk, c)",
    ],
)
def test_rows_are_taken_only_where_they_are_added_to_as_many(sums: str) -> None:
    more = "c = Constant<value = float[1] {1.0}>()" if "c)" in sums else ""
    model, _ = applied(embedded(sums, more), *PASSES, trials=feeds((2, 5)))
    assert ops(model)["Expand"] == 1


def test_other_indices_are_looked_up() -> None:
    text = embedded("y = Add(w, z)", "z = Gather(kinds, m)").replace(
        "t0 = Identity(zero)", "two = Constant<value_int=2>() t0 = Identity(zero) m = Mod(x, two)"
    )
    model, _ = applied(text, *PASSES, trials=feeds((2, 5)))
    assert ops(model)["Gather"] == 2


MASK = (
    HEAD
    + """ => (bool[n, one, t, s] y) {
    zero = Constant<value_int=0>() step = Constant<value_int=1>() low = Constant<value_int=LOW>()
    s = Shape<start=1, end=2>(x) at = Constant<value_ints=[0]>() n0 = Squeeze(s, at)
    r = Range(zero, n0, step) back = Constant<value_ints=[0, 1, 3]>() c = Unsqueeze(r, back)
    true = GreaterOrEqual(c, low) mid = Constant<value_ints=[1, 2]>() b = Cast<to=9>(x)
    m = Unsqueeze(b, mid) y = And(SIDES) }"""
)


@pytest.mark.parametrize("sides", ["true, m", "m, true"])
def test_a_mask_that_hides_nothing_only_repeats_the_other(sides: str) -> None:
    text = MASK.replace("LOW", "0").replace("SIDES", sides)
    model, _ = applied(
        text, *PASSES, infer_symbols, remove_unused, trials=feeds((2, 5), (1, 1), (2, 0))
    )
    assert "And" not in ops(model)
    assert ops(model)["Expand"] == 1


def test_a_mask_that_hides_something_stays() -> None:
    model, _ = applied(
        MASK.replace("LOW", "1").replace("SIDES", "true, m"), *PASSES, trials=feeds((2, 5))
    )
    assert ops(model)["And"] == 1
