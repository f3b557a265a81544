import onnx
import pytest

from modelkit.precision import kinds


@pytest.mark.parametrize("name", ["MOVEMENT", "ELEMENTWISE", "SUMS", "SOFTMAX"])
def test_every_name_is_an_operator(name: str) -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert getattr(kinds, name) <= known


def test_light_operators_are_those_two_families() -> None:
    assert kinds.LIGHT == kinds.MOVEMENT | kinds.ELEMENTWISE
    assert not kinds.LIGHT & {"MatMul", "Conv", "Gemm", "LSTM", "Softmax", "LayerNormalization"}
