from pathlib import Path

import pytest

from modelkit.model import load
from modelkit.runtime.roles import guessed_specs
from tests.models import model_file


@pytest.mark.parametrize(
    ("declared", "role", "dtype"),
    [
        ("int64[b, s] input_ids", "ids", "int64"),
        ("int64[b, s] attention_mask", "mask", "int64"),
        ("int64[b, s] token_type_ids", "token_types", "int64"),
        ("int64[b, s] position_ids", "positions", "int64"),
        ("float[b, 3, 8, 8] pixel_values", "pixels", "float32"),
        ("float[b, 2, p, 4] past_key_values", "past", "float32"),
        ("double[b, 4] x", "float", "float64"),
        ("bool[b] flag", "other", "bool"),
        ("string[b] text", "other", "str"),
        ("float16[b, 4] x", "float", "float16"),
    ],
)
def test_roles_by_name_and_type(tmp_path: Path, declared: str, role: str, dtype: str) -> None:
    kind, name = declared.rsplit(" ", 1)
    text = f"""<ir_version: 8, opset_import: ["": 17]> g ({declared}) => ({kind} y)
    {{ y = Identity({name}) }}"""
    spec = guessed_specs(load(model_file(tmp_path / "m.onnx", text)))[0]
    assert (spec.role, spec.dtype) == (role, dtype)


def test_numbers_that_the_graph_tells_apart(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (int64 sr, int64[n] ids) => (bool a, bool b, bool[n] c) <int64 wide = {16000}> {
    narrow = Constant<value = int64 {8000}>() same = Identity(sr)
    a = Equal(wide, same) b = Equal(sr, narrow) c = Equal(ids, ids) }"""
    rate, ids = guessed_specs(load(model_file(tmp_path / "m.onnx", text)))
    assert rate.choices == (8000, 16000)
    assert ids.choices == ()
