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
    ],
)
def test_an_option_without_effect_is_an_error(said: Options, taken: str, refused: str) -> None:
    refuse_without_effect(said, FRAMEWORKS[taken])
    with pytest.raises(UsageError, match="means nothing for the format"):
        refuse_without_effect(said, FRAMEWORKS[refused])
