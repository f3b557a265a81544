import pytest

from modelkit.passes.infer_symbols import infer_symbols
from tests.passes.harness import model_of


def shapes(node: str, outputs: str = "a, b") -> list[str]:
    model = model_of(
        f"""<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[batch, seq, 12] x, float[1, 16, 12] w, float[1, 16, 4] r) => (float y)
        <int64[2] parts = {{4, 8}}, int64[1] k = {{3}}> {{
          {outputs} = {node}
          y = Identity(a)
        }}"""
    )
    infer_symbols(model)
    return [str(value.shape) for value in model.graph[0].outputs]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("Split<axis = 2>(x, parts)", ["[batch,seq,4]", "[batch,seq,8]"]),
        ("Split<axis = -1>(x)", ["[batch,seq,6]", "[batch,seq,6]"]),
        ("TopK<axis = 1>(x, k)", ["[batch,3,12]", "[batch,3,12]"]),
        ("Dropout(x)", ["[batch,seq,12]", "[batch,seq,12]"]),
    ],
)
def test_each_output(node: str, expected: list[str]) -> None:
    assert shapes(node) == expected


def test_runtime_specific_operators_keep_the_shape() -> None:
    assert shapes("com.microsoft.FastGelu(x)", "a") == ["[batch,seq,12]"]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [("x, w, r", "[batch,seq,4]"), ("x, w, x", "[batch,seq,12]"), ("x", "None"), ("x, w", "None")],
)
def test_attention_has_the_rows_of_its_queries_and_the_width_of_its_values(
    inputs: str, expected: str
) -> None:
    assert shapes(f"com.microsoft.MultiHeadAttention<num_heads = 2>({inputs})", "a") == [expected]


def test_an_odd_split_of_a_named_axis_is_not_guessed() -> None:
    assert shapes("Split<axis = 1>(x)") == ["[batch,unk_0,12]", "[batch,unk_1,12]"]


def test_recurrent_states_stay_open() -> None:
    assert shapes("LSTM<hidden_size = 4>(x, w, r)") == ["[batch,1,seq,4]", "[1,seq,4]"]
