import pytest

from tests.harness import floats, rewritten

NAME = "power"
FEEDS = [{"x": abs(floats(n, 4)) + 0.1} for n in (0, 1, 3)]


def text(exponent: str, kind: str = "float") -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]> g ({kind}[n, 4] x) => ({kind}[n, 4] y)
    <{exponent}> {{ y = Pow(x, e) }}"""


@pytest.mark.parametrize(
    ("exponent", "operators"),
    [
        ("float e = {2.0}", ["Mul"]),
        ("float[1] e = {3.0}", ["Mul", "Mul"]),
        ("float e = {0.5}", ["Sqrt"]),
        ("float e = {-1.0}", ["Reciprocal"]),
        ("int64 e = {2}", ["Mul"]),
    ],
)
def test_powers_with_an_operator(exponent: str, operators: list[str]) -> None:
    assert rewritten(text(exponent), [NAME], FEEDS).operators == operators


def test_negative_numbers_have_squares() -> None:
    rewritten(text("float e = {2.0}"), [NAME], [{"x": floats(3, 4)}])


@pytest.mark.parametrize(
    ("exponent", "reason"),
    [
        ("float e = {2.5}", "no operator computes this power"),
        ("float[4] e = {2.0, 2.0, 2.0, 2.0}", "its exponent is not a constant number"),
        ("float[1, 1, 1] e = {2.0}", "its exponent may add axes"),
    ],
)
def test_other_powers_stay(exponent: str, reason: str) -> None:
    source = text(exponent).replace(
        "float[n, 4] y", "float[a, b, c] y" if "1, 1" in exponent else "float[n, 4] y"
    )
    assert rewritten(source, [NAME], FEEDS).reason(NAME) == reason
