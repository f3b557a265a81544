from collections.abc import Callable

import pytest

from modelkit.model import load
from modelkit.rewrite import Expr, either, op
from modelkit.rewrite.match import Match, matches
from tests.models import parsed


def found(
    text: str, pattern: Callable[..., Expr], tmp_path_factory: pytest.TempPathFactory
) -> list[dict]:
    path = tmp_path_factory.mktemp("m") / "m.onnx"
    path.write_bytes(parsed(text).SerializeToString())
    model = load(path)
    import inspect

    expression = pattern(*(Expr(name=name) for name in inspect.signature(pattern).parameters))
    output = model.graph.outputs[0]
    return [
        {name: value.name if value else None for name, value in match.bound.items()}
        for match in matches(expression, output, Match())
    ]


HEAD = '<ir_version: 10, opset_import: ["": 20]> g (float[2] a, float[2] b, float[2] c) => (float[2] y)'


def test_operands_are_tried_both_ways(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = f"{HEAD} {{ n = Neg(b) y = Add(a, n) }}"
    assert found(text, lambda p, q: op.Neg(p) + q, tmp_path_factory) == [{"p": "b", "q": "a"}]


def test_backtracking_reaches_deep_choices(tmp_path_factory: pytest.TempPathFactory) -> None:
    # The first order of the outer Mul binds p to a and fails only inside.
    text = f"{HEAD} {{ s = Add(b, a) n = Neg(b) m = Mul(n, s) y = Mul(m, b) }}"
    pattern = lambda p, q: (op.Neg(p) * (p + q)) * p
    assert found(text, pattern, tmp_path_factory) == [{"p": "b", "q": "a"}]


def test_one_name_is_one_value(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = f"{HEAD} {{ y = Mul(a, b) }}"
    assert found(text, lambda p: p * p, tmp_path_factory) == []


def test_alternatives_are_tried_in_order(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = f"{HEAD} {{ n = Neg(a) y = Exp(n) }}"
    pattern = lambda p: op.Exp(either(op.Neg(p), p))
    assert found(text, pattern, tmp_path_factory) == [{"p": "a"}, {"p": "n"}]


def test_a_default_attribute_equals_its_absence(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = f"{HEAD} {{ y = Softmax(a) }}"
    assert found(text, lambda p: op.Softmax(p, axis=-1), tmp_path_factory) == [{"p": "a"}]
    assert found(text, lambda p: op.Softmax(p, axis=0), tmp_path_factory) == []


@pytest.mark.parametrize(("value", "fits"), [("0.5", True), ("0.50001", True), ("0.51", False)])
def test_literals_fit_within_the_rounding_of_exporters(
    value: str, fits: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = f"{HEAD} {{ k = Constant<value_float={value}>() y = Mul(k, a) }}"
    assert bool(found(text, lambda p: p * 0.5, tmp_path_factory)) == fits


def test_an_absent_optional_input_is_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = f"{HEAD} {{ y = Clip(a) }}"
    assert found(text, lambda p: op.Clip(p, None, None), tmp_path_factory) == [{"p": "a"}]


def test_another_domain_is_another_operator(tmp_path_factory: pytest.TempPathFactory) -> None:
    text = HEAD.replace('["": 20]', '["": 20, "com.microsoft": 1]')
    text += " { y = com.microsoft.Gelu(a) }"
    assert found(text, lambda p: op.Gelu(p), tmp_path_factory) == []
    pattern = lambda p: op.Gelu(p, _domain="com.microsoft")
    assert found(text, pattern, tmp_path_factory) == [{"p": "a"}]
