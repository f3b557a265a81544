import numpy as np
import pytest

from tests.harness import floats, rewritten

NUMBERS = """zero = Constant<value_ints=[0]>() four = Constant<value_ints=[4]>()
    end = Constant<value_ints=[9223372036854775807]>() last = Constant<value_ints=[3]>()
    step = Constant<value_ints=[1]>() at = Constant<value_ints=[1]>()"""
ANGLES = """aa = Concat<axis=-1>(f, f) c = Cos(aa) s = Sin(aa)
    cu = Unsqueeze(c, at) su = Unsqueeze(s, at)"""
SLICES = """low = Slice(x, zero, four, last, step) high = Slice(x, four, end, last, step)"""
TURN = """neg = Neg(high) j = Concat<axis=-1>(neg, low) a = Mul(x, cu) b = Mul(j, su)
    y = Add(a, b)"""


def text(
    slices: str = SLICES,
    angles: str = ANGLES,
    batch: str = "1",
    weights: str = "",
    turn: str = TURN,
) -> str:
    return f"""<ir_version: 11, opset_import: ["": 23]>
    g (float[b, 3, s, 8] x, float[{batch}, s, 4] f) => (float[b, 3, s, 8] y) {weights}
    {{ {NUMBERS} {angles} {slices} {turn} }}"""


def feeds(one: bool) -> list[dict[str, np.ndarray]]:
    return [
        {"x": floats(b, 3, s, 8), "f": floats(1 if one else b, s, 4, seed=1)}
        for b, s in ((1, 1), (2, 5))
    ]


@pytest.mark.parametrize(
    "slices",
    [
        SLICES,
        "low = Slice(x, zero, four, last) high = Slice(x, four, end, last)",
        "low, high = Split<axis=-1, num_outputs=2>(x)",
        "h = Constant<value_ints=[4, 4]>() low, high = Split<axis=3>(x, h)",
    ],
)
@pytest.mark.parametrize("one", [True, False])
def test_every_spelling(slices: str, one: bool) -> None:
    source = text(slices, batch="1" if one else "b")
    result = rewritten(source, ["rotary_embedding"], feeds(one))
    assert result.counts == {"rotary_embedding": 1}
    assert ("Expand" in result.operators) == one
    assert "Concat" not in result.operators or one


def test_a_factor_on_the_angles_stays() -> None:
    angles = """aa = Concat<axis=-1>(f, f) k = Constant<value_float=1.25>()
    c0 = Cos(aa) s0 = Sin(aa) c = Mul(c0, k) s = Mul(k, s0)
    cu = Unsqueeze(c, at) su = Unsqueeze(s, at)"""
    result = rewritten(text(angles=angles), ["rotary_embedding"], feeds(one=True))
    assert "RotaryEmbedding" in result.operators
    assert result.operators.count("Mul") == 2


def test_tables_of_angles_are_halved() -> None:
    half = np.random.default_rng(0).standard_normal((1, 5, 4)).astype(np.float32)
    numbers = ", ".join(str(float(v)) for v in np.concatenate([half, half], -1).reshape(-1))
    angles = f"""shape = Constant<value_ints=[1, 5, 8]>() t = Constant<value_floats=[{numbers}]>()
    c = Reshape(t, shape) cu = Unsqueeze(c, at) su = Unsqueeze(c, at)"""
    source = text(angles=angles).replace("float[b, 3, s, 8]", "float[b, 3, 5, 8]")
    inputs = [{"x": floats(2, 3, 5, 8), "f": floats(1, 5, 4)}]
    result = rewritten(source, ["rotary_embedding"], inputs)
    # The table is folded only by the passes around; here it is a Reshape, which is not looked into.
    assert result.reason("rotary_embedding") == "its angles are not known to be twice the same"


def test_heads_behind_the_sequence() -> None:
    angles = ANGLES.replace("at)", "two)")
    source = text(angles=f"two = Constant<value_ints=[2]>() {angles}")
    source = source.replace("float[b, 3, s, 8]", "float[b, s, 3, 8]")
    inputs = [{"x": floats(2, 5, 3, 8), "f": floats(1, 5, 4, seed=1)}]
    result = rewritten(source, ["rotary_embedding"], inputs)
    assert result.counts == {"rotary_embedding": 1}


def test_other_parts_than_halves_are_refused() -> None:
    slices = SLICES.replace("zero, four", "four, end").replace(
        "high = Slice(x, four, end", "high = Slice(x, zero, four"
    )
    result = rewritten(text(slices), ["rotary_embedding"], feeds(one=True))
    assert result.reason("rotary_embedding") == "its first part is not the first half"


def test_angles_that_differ_are_refused() -> None:
    angles = ANGLES.replace("aa = Concat<axis=-1>(f, f)", "g1 = Abs(f) aa = Concat<axis=-1>(f, g1)")
    result = rewritten(text(angles=angles), ["rotary_embedding"], feeds(one=True))
    assert result.reason("rotary_embedding") == "its angles are not known to be twice the same"


def test_angles_of_one_position_are_refused() -> None:
    source = text().replace("float[1, s, 4] f", "float[1, 1, 4] f")
    inputs = [{"x": floats(2, 3, s, 8), "f": floats(1, 1, 4)} for s in (1, 3)]
    reason = "its angles are those of one position"
    assert rewritten(source, ["rotary_embedding"], inputs).reason("rotary_embedding") == reason
