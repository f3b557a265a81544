from dataclasses import FrozenInstanceError

import pytest

from modelkit.convert.source import Options, Source


def test_options_start_out_careful() -> None:
    assert Options().trust_source is False
    assert Options().input_shape == ()


def test_a_source_cannot_be_changed() -> None:
    source = Source("ONNX", None, (), ())
    with pytest.raises(FrozenInstanceError):
        source.framework = "other"  # type: ignore[misc]
