import pytest

from tests.harness import floats, rewritten

NAME = "gelu_with_bias"
FEEDS = [{"x": floats(n, 8)} for n in (0, 1, 3)]


def text(approximate: str = "none", bias: str = "float[8] c") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]>
    g (float[n, 8] x) => (float[n, 8] y) <{bias}> {{
    a = Add(c, x) y = Gelu<approximate="{approximate}">(a) }}"""


@pytest.mark.parametrize(("approximate", "kind"), [("none", "BiasGelu"), ("tanh", "FastGelu")])
def test_the_bias_goes_into_the_operator_of_its_form(approximate: str, kind: str) -> None:
    assert rewritten(text(approximate), [NAME], FEEDS).operators == [kind]


def test_a_bias_of_another_shape_is_refused() -> None:
    result = rewritten(text(bias="float[1, 8] c"), [NAME], FEEDS)
    assert result.reason(NAME) == "neither operand is a constant vector"
    source = text(bias="float[1] c").replace("Add(c, x)", "Add(x, c)")
    result = rewritten(source, [NAME], FEEDS)
    assert result.reason(NAME) == "its input is not known to be as wide as the bias"
