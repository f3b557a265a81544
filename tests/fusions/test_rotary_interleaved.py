import numpy as np
import pytest

from tests.harness import floats, rewritten

NAME = "rotary_interleaved"
NUMBERS = """zero = Constant<value_ints=[0]>() one = Constant<value_ints=[1]>()
    two = Constant<value_ints=[2]>() three = Constant<value_ints=[3]>()
    last = Constant<value_ints=[-1]>() end = Constant<value_ints=[9223372036854775807]>()"""
ANGLES = """fu = Unsqueeze(f, last) twice = Constant<value_ints=[1, 1, 1, 2]>()
    fe = Expand(fu, twice) flat = Constant<value_ints=[0, -1, 8]>() aa = Reshape(fe, flat)
    c = Cos(aa) s = Sin(aa) cu = Unsqueeze(c, one) su = Unsqueeze(s, one)"""
SLICES = "even = Slice(x, zero, end, last, two) odd = Slice(x, one, end, three, two)"
TURN = """neg = Neg(odd) nu = Unsqueeze(neg, last) eu = Unsqueeze(even, last)
    pairs = Concat<axis=4>(nu, eu) whole = Constant<value_ints=[0, 3, -1, 8]>()
    j = Reshape(pairs, whole) a = Mul(x, cu) b = Mul(j, su) y = Add(a, b)"""


def text(angles: str = ANGLES, slices: str = SLICES, turn: str = TURN, batch: str = "1") -> str:
    return f"""<ir_version: 11, opset_import: ["": 23]>
    g (float[b, 3, s, 8] x, float[{batch}, s, 4] f) => (float[b, 3, s, 8] y)
    {{ {NUMBERS} {angles} {slices} {turn} }}"""


def feeds(batch: int | None = 1) -> list[dict[str, np.ndarray]]:
    return [
        {"x": floats(b, 3, s, 8), "f": floats(batch or b, s, 4, seed=1)}
        for b, s in ((1, 1), (2, 5), (3, 2))
    ]


def test_neighbours_are_turned_by_one_operator() -> None:
    result = rewritten(text(), [NAME], feeds())
    assert "RotaryEmbedding" in result.operators
    assert not {"Slice", "Neg", "Mul"} & set(result.operators)


def test_angles_that_are_tiled() -> None:
    result = rewritten(text(ANGLES.replace("Expand", "Tile")), [NAME], feeds())
    assert "RotaryEmbedding" in result.operators


def test_angles_that_are_stacked_on_themselves() -> None:
    stacked = ANGLES.replace("fe = Expand(fu, twice)", "fe = Concat<axis=-1>(fu, fu)")
    assert "RotaryEmbedding" in rewritten(text(stacked), [NAME], feeds()).operators
    other = stacked.replace("(fu, fu)", "(fu, gu)").replace("fe =", "gu = Neg(fu) fe =")
    assert not rewritten(text(other), [NAME], feeds()).counts


def test_angles_of_each_sample() -> None:
    result = rewritten(text(batch="b"), [NAME], feeds(None))
    assert "Expand" not in result.operators
    assert "RotaryEmbedding" in result.operators


def test_angles_that_get_the_axis_of_the_heads_before_they_are_repeated() -> None:
    angles = """axes = Constant<value_ints=[1, 4]>() twice = Constant<value_ints=[1, 1, 1, 1, 2]>()
    fu = Unsqueeze(f, axes) fe = Expand(fu, twice) flat = Constant<value_ints=[1, 1, -1, 8]>()
    aa = Reshape(fe, flat) cu = Cos(aa) su = Sin(aa)"""
    result = rewritten(text(angles), [NAME], feeds())
    assert "RotaryEmbedding" in result.operators


def test_heads_behind_the_sequence_as_gptj_has_them() -> None:
    source = text(ANGLES.replace("Unsqueeze(c, one)", "Unsqueeze(c, two)"))
    source = source.replace("Unsqueeze(s, one)", "Unsqueeze(s, two)")
    source = source.replace("[0, 3, -1, 8]", "[0, -1, 3, 8]").replace("b, 3, s, 8", "b, s, 3, 8")
    inputs = [{"x": floats(b, s, 3, 8), "f": floats(1, s, 4)} for b, s in ((1, 1), (2, 5))]
    result = rewritten(source, [NAME], inputs)
    assert result.operators.count("RotaryEmbedding") == 1


def test_scaled_angles() -> None:
    scaled = ANGLES.replace("c = Cos(aa) s = Sin(aa)", "c = Mul(c0, k) s = Mul(k, s0)").replace(
        "c = Mul", "k = Constant<value_float=1.25>() c0 = Cos(aa) s0 = Sin(aa) c = Mul"
    )
    result = rewritten(text(scaled), [NAME], feeds())
    assert result.operators.count("Mul") == 2
    assert "RotaryEmbedding" in result.operators


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            text(slices=SLICES.replace("(x, zero,", "(x, one,")),
            "it does not take every other number",
        ),
        (
            text(slices=SLICES.replace("zero, end", "zero, three")),
            "it does not take all numbers",
        ),
        (
            text("aa = Concat<axis=-1>(f, f) cu = Unsqueeze(aa, one) su = Unsqueeze(aa, one)"),
            "its angles are not known to be each written twice, side by side",
        ),
        (
            text(ANGLES.replace("Unsqueeze(s, one)", "Reshape(s, other)")).replace(
                "last =", "other = Constant<value_ints=[0, -1, 1, 8]>() last ="
            ),
            "its angles are not known to be each written twice, side by side",
        ),
        (
            text().replace("float[b, 3, s, 8] x", "double[b, 3, s, 8] x"),
            "its input is not known to be float32 with four axes",
        ),
    ],
)
def test_what_is_turned_otherwise_is_refused(source: str, reason: str) -> None:
    assert rewritten(source, [NAME], []).reason(NAME) == reason


def test_angles_along_other_axes_are_refused() -> None:
    source = text(ANGLES.replace("Unsqueeze(s, one)", "Unsqueeze(s, two)"))
    reason = "its cosines and sines stand along different axes"
    assert rewritten(source, [NAME], []).reason(NAME) == reason


def test_angles_of_one_position_are_refused() -> None:
    source = text().replace("float[1, s, 4] f", "float[1, 1, 4] f")
    inputs = [{"x": floats(2, 3, s, 8), "f": floats(1, 1, 4)} for s in (1, 3)]
    assert rewritten(source, [NAME], inputs).reason(NAME) == "its angles are those of one position"
