import pytest

from modelkit.convert.applicable import refuse_without_effect
from modelkit.convert.frameworks import FRAMEWORKS
from modelkit.convert.source import Options
from modelkit.errors import UsageError


@pytest.mark.parametrize(
    ("said", "taken", "refused"),
    [
        (Options(double=True), "skops", "torch"),
        (Options(outputs=("y",)), "frozen-graph", "lightgbm"),
        (Options(dtype="float16"), "transformers", "xgboost"),
        (Options(task="encoder"), "transformers", "onnx"),
        (Options(task="serving_default"), "saved-model", "tflite"),
        (Options(inputs=("x",)), "meta-graph", "saved-model"),
        (Options(dtype="source"), "torch-shards", "pt2"),
        (Options(translations="net:table"), "pt2", "keras"),
        (Options(model="net:build"), "safetensors", "transformers"),
        (Options(input_shape=("x:2,3",)), "keras", "transformers"),
        (Options(input_shape=("X:2,3",)), "libsvm", "skops"),
    ],
)
def test_an_option_without_effect_is_an_error(said: Options, taken: str, refused: str) -> None:
    refuse_without_effect(said, taken)
    with pytest.raises(UsageError, match="means nothing for the format"):
        refuse_without_effect(said, refused)


def test_shapes_fix_the_axes_of_every_format() -> None:
    for kind in FRAMEWORKS:
        refuse_without_effect(Options(input_shape=("x:2,3",), static=True), kind)
