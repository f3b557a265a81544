import json
from dataclasses import replace
from pathlib import Path

import pytest

from modelkit.errors import UsageError
from modelkit.model import load
from modelkit.runtime.data.settings import (
    KEY,
    Preprocessing,
    keep_settings,
    kept_settings,
    read_settings,
    resolved,
)
from tests.models import linear_text, model_file

WORDS = {
    "resize": "128x96",
    "scale": "1/255",
    "mean": "0.5,0.4,0.3",
    "std": "0.2",
    "layout": "nhwc",
}
READ = Preprocessing(
    resize=(128, 96), scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2,), layout="nhwc"
)


def test_words_of_the_command_line() -> None:
    assert read_settings(WORDS) == READ
    assert read_settings({"resize": None, "crop": ""}) == Preprocessing()
    assert read_settings({"resize": "256"}).resize == (256,)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"resize": "big"}, "is no size"),
        ({"resize": "0x3"}, "is no size"),
        ({"scale": "1/0"}, "is no number"),
        ({"mean": "a,b"}, "is no number"),
        ({"layout": "chwn"}, "is unknown"),
        ({"channels": "cmyk"}, "is unknown"),
        ({"std": "0"}, "divides by nothing"),
    ],
)
def test_words_that_make_no_sense(words: dict, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        read_settings(words)


def test_what_a_model_keeps_comes_back(tmp_path: Path) -> None:
    model = load(model_file(tmp_path / "m.onnx", linear_text(2, 2)))
    keep_settings(model, {})
    assert KEY not in model.metadata_props
    keep_settings(model, WORDS)
    assert kept_settings(model.metadata_props, None) == READ
    keep_settings(model, {"resize": "8"})
    assert resolved({"layout": "nchw"}, model.metadata_props, None) == replace(
        READ, resize=(8,), layout="nchw"
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"resize": ["x"]}', '{"scale": "much"}', "3"])
def test_broken_metadata_is_no_settings(text: str) -> None:
    assert kept_settings({KEY: text}, None) == Preprocessing()


def test_a_processor_file_beside_the_model(tmp_path: Path) -> None:
    clip = {
        "do_resize": True, "size": {"shortest_edge": 224}, "do_center_crop": True, "resample": 3,
        "crop_size": {"height": 224, "width": 224}, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": [0.48, 0.45, 0.4], "image_std": [0.27, 0.26, 0.27],
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(clip))
    found = kept_settings({}, tmp_path)
    assert (found.resize, found.crop, found.resample) == ((224,), (224, 224), "bicubic")
    assert found.mean == (0.48, 0.45, 0.4)
    # What is typed goes before what the model keeps, and that before the folder.
    kept = {KEY: json.dumps({"resize": [64, 64], "max_length": 7})}
    both = read_settings({"resize": "32"}).over(kept_settings(kept, tmp_path))
    assert (both.resize, both.max_length, both.crop) == ((32,), 7, (224, 224))
