import pytest

from modelkit.passes.opsets.runnable import runnable
from tests.passes.harness import model_of


def text(body: str, opset: int = 17) -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
    g (float[n, 4] x) => (float[n, 4] y) {{ {body} }}"""


@pytest.mark.parametrize(
    ("body", "opset", "found"),
    [
        ("y = Relu(x)", 17, (23, "")),
        ("y = RandomNormalLike(x)", 17, (21, "RandomNormalLike")),
        ("y = RandomNormalLike(x)", 22, (23, "")),
        ("y = Softplus(x)", 17, (23, "")),
        ("h = ReduceMean<axes = [1]>(x) y = Add(x, h)", 13, (23, "")),
    ],
)
def test_the_newest_opset_with_all_kernels(body: str, opset: int, found: tuple[int, str]) -> None:
    assert runnable(model_of(text(body, opset)), 23) == found


def test_what_stands_in_a_branch_counts() -> None:
    body = """q = Constant<value_int = 1>() c = Cast<to = 9>(q)
    y = If(c) <then_branch = t () => (float[i, j] a) { a = RandomUniformLike(x) },
               else_branch = e () => (float[i, j] b) { b = Relu(x) }>"""
    assert runnable(model_of(text(body)), 23) == (21, "RandomUniformLike")


def test_a_model_above_what_is_asked_for_stays() -> None:
    assert runnable(model_of(text("y = Relu(x)", 20)), 18) == (20, "")
