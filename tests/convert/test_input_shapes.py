import pytest

from modelkit.convert.input_shapes import parse, role
from modelkit.errors import UsageError


def one(text: str) -> tuple[tuple[int | str, ...], tuple[int, ...]]:
    asked = parse((text,))[0]
    return asked.spec.shape, asked.lengths


@pytest.mark.parametrize(
    ("text", "shape", "lengths"),
    [
        ("x:2,3,32,32", ("batch", 3, 32, 32), (2, 3, 32, 32)),
        ("x:1,3", ("batch", 3), (2, 3)),
        ("x:batch,3", ("batch", 3), (0, 3)),
        ("x:batch,3,height=64,width=48", ("batch", 3, "height", "width"), (0, 3, 64, 48)),
        ("x:?,-1", ("batch", "x_1"), (0, 0)),
        ("x:8", (8,), (8,)),
    ],
)
def test_shapes(text: str, shape: tuple[int | str, ...], lengths: tuple[int, ...]) -> None:
    assert one(text) == (shape, lengths)


def test_the_type_comes_last() -> None:
    assert parse(("ids:batch,sequence:int64",))[0].spec.dtype == "int64"
    assert parse(("x:batch,3",))[0].spec.dtype == "float32"


@pytest.mark.parametrize(
    "text", ["", "x", "x:", ":2,3", "x:2,,3", "x:2,-3", "x:2,a b", "x:0,3", "x:2,99999999999"]
)
def test_what_is_no_shape_says_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse((text,))
    assert "--input-shape x:batch,3,224,224" in caught.value.hint


def test_unknown_types_and_repeated_names_are_refused() -> None:
    with pytest.raises(UsageError, match="no type is called 'float33'"):
        parse(("x:2,3:float33",))
    with pytest.raises(UsageError, match="twice"):
        parse(("x:2,3", "x:2,3"))


@pytest.mark.parametrize(
    ("name", "dtype", "rank", "expected"),
    [
        ("input_ids", "int64", 2, "ids"),
        ("attention_mask", "int64", 2, "mask"),
        ("mask", "bool", 2, "mask"),
        ("token_type_ids", "int64", 2, "token_types"),
        ("position_ids", "int64", 2, "positions"),
        ("image", "float32", 4, "pixels"),
        ("mask", "float32", 2, "float"),
    ],
)
def test_roles(name: str, dtype: str, rank: int, expected: str) -> None:
    assert role(name, dtype, rank) == expected
