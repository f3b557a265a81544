import onnx_ir as ir
import pytest

from modelkit.passes.equations import Equation, equation_of


def einsum(equation: str) -> ir.Node:
    return ir.node("Einsum", [ir.Value(name="x"), ir.Value(name="y")], {"equation": equation})


@pytest.mark.parametrize(
    ("text", "ranks", "found"),
    [
        ("ij,jk->ik", (2, 2), Equation(("ij", "jk"), "ik")),
        (" b i j , b j k -> b i k ", (3, None), Equation(("bij", "bjk"), "bik")),
        ("ij,jk", (2, 2), Equation(("ij", "jk"), "ik")),
        ("...ij,...jk->...ik", (4, 3), Equation(("10ij", "0jk"), "10ik")),
        ("...ij,jk->...ik", (2, 2), Equation(("ij", "jk"), "ik")),
        ("ij,jk->ik", (3, 2), None),
        ("...ij,jk->...ik", (None, 2), None),
        ("...ij,jk->...ik", (1, 2), None),
        ("...ij,...jk", (3, 3), None),
        ("ij->ji", (2, 2), None),
        ("ij,jk->il", (2, 2), None),
        ("i.j,jk->ik", (3, 2), None),
    ],
)
def test_letters_for_every_axis(
    text: str, ranks: tuple[int | None, ...], found: Equation | None
) -> None:
    assert equation_of(einsum(text), ranks) == found


def test_a_letter_twice_is_not_plain() -> None:
    assert not Equation(("ii", "ij"), "j").is_plain
    assert Equation(("ik", "kj"), "ij").is_plain
