from dataclasses import FrozenInstanceError

import pytest

from modelkit.convert.source import Options, Source, options_of


def test_options_start_out_careful() -> None:
    assert Options().trust_source is False
    assert Options().input_shape == ()


def test_options_come_from_json() -> None:
    found = options_of({"input_shape": ["x:2,3"], "opset": None, "double": True})
    assert found == Options(input_shape=("x:2,3",), double=True)


def test_a_source_cannot_be_changed() -> None:
    source = Source("ONNX", None, (), ())
    with pytest.raises(FrozenInstanceError):
        source.framework = "other"  # type: ignore[misc]
