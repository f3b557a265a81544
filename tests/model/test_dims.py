import pytest

from modelkit.model import dims
from modelkit.model.dims import name, parse, text

B, S = name("batch"), name("seq")


def test_sums_and_products_have_one_form() -> None:
    assert dims.add(B, S) == dims.add(S, B)
    assert dims.subtract(dims.add(B, S), S) == B  # type: ignore[arg-type]
    assert dims.multiply(dims.multiply(B, 3), S) == dims.multiply(S, dims.multiply(B, 3))  # type: ignore[arg-type]
    assert dims.subtract(B, B) == 0


@pytest.mark.parametrize(
    ("dim", "written"),
    [
        (dims.add(B, 1), "batch + 1"),
        (dims.subtract(B, 2), "batch - 2"),
        (dims.multiply(B, 12), "12*batch"),
        (dims.multiply(B, S), "batch*seq"),
        (dims.divide(S, 2), "((seq)//(2))"),
        (dims.minimum(S, 512), "Min(512, seq)"),
        (7, "7"),
    ],
)
def test_what_is_written_reads_back(dim: dims.Dim, written: str) -> None:
    assert text(dim) == written
    assert parse(written) == dim


def test_any_other_text_is_one_name() -> None:
    for word in ("unk__12", "a b", "(", "9**9**9", "f(x)", "x" * 500, "batch+", "__import__('os')"):
        assert text(parse(word)) == word


def test_division_is_exact_or_named() -> None:
    twelve = dims.multiply(B, 12)
    assert twelve is not None
    assert dims.divide(twelve, 4) == dims.multiply(B, 3)
    assert dims.divide_exactly(twelve, B) == 12
    assert dims.divide_exactly(twelve, 5) is None
    assert dims.divide_exactly(B, 0) is None
    assert dims.divide(S, 2) == dims.divide(S, 2)


def test_signs_are_proved_not_guessed() -> None:
    assert dims.nonnegative(B)
    assert not dims.positive(B)
    assert dims.positive(dims.add(B, 1))  # type: ignore[arg-type]
    assert not dims.nonnegative(dims.subtract(B, 1))  # type: ignore[arg-type]


def test_extremes_that_can_be_told_are() -> None:
    more = dims.add(S, 1)
    assert more is not None
    assert dims.minimum(S, more) == S
    assert dims.maximum(S, more) == more
    assert dims.smaller_of(dims.minimum(S, 512)) == (512, S)
    assert dims.smaller_of(S) is None


def test_growth_is_bounded() -> None:
    dim: dims.Dim | None = B
    for number in range(40):
        dim = None if dim is None else dims.multiply(dim, name(f"d{number}"))
    assert dim is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("height", 224),
        ("Windows(Windows(height - 1, 2) - 1, 2)", 56),
        ("2*Windows(height - 2, 2) + 1", 225),
        ("((height)//(32))", 7),
        ("Min(512, height)", 224),
        ("-3 + height*height", 224 * 224 - 3),
        ("height + unk_0", None),
        ("unk_0", None),
        ("Windows(height - 1, 0)", None),
        ("f(height, 2)", None),
        ("a b", 7),
        ("height" + " + height" * 40, None),
    ],
)
def test_a_dim_is_computed_from_lengths(word: str, expected: int | None) -> None:
    assert dims.at(word, {"height": 224, "a b": 7}) == expected


def test_windows_of_known_and_unknown_room() -> None:
    assert dims.windows(223, 2) == 112
    assert dims.windows(-1, 2) is None
    assert dims.windows(S, 1) == dims.add(S, 1)
    less = dims.subtract(S, 1)
    assert less is not None
    made = dims.windows(less, 2)
    assert made is not None
    assert text(made) == "Windows(seq - 1, 2)"
    assert parse(text(made)) == made


def test_a_multiple_of_a_name_is_told() -> None:
    assert dims.multiple("height") == ("height", 1)
    assert dims.multiple("8*_h") == ("_h", 8)
    assert dims.multiple("a b") == ("a b", 1)
    for word in ("8*h + 1", "h*w", "-2*h", "12"):
        assert dims.multiple(word) is None
