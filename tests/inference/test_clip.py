import json
from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import BadInput, UsageError
from modelkit.inference import run_file
from modelkit.inference.clip import is_clip
from modelkit.model import LOGIT_SCALE, load, save
from tests.models import model_file

Image = pytest.importorskip("PIL.Image")

VISUAL = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3, 2, 2] pixel_values) => (float[n, 3] image_embeds)
{ m = ReduceMean<axes=[2, 3], keepdims=0>(pixel_values) k = Constant<value_float=5.0>()
image_embeds = Mul(m, k) }"""
TEXTUAL = """<ir_version: 8, opset_import: ["": 17]>
g (int64[n, s] input_ids) => (float[n, s, 3] last_hidden_state, float[n, 3] text_embeds)
<float[4, 3] table = {1, 1, 1, 7, 0, 0, 0, 8, 0, 0, 0, 9}>
{ last_hidden_state = Gather(table, input_ids) text_embeds = ReduceMax<axes=[1], keepdims=0>(last_hidden_state) }"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    place = tmp_path / "clip"
    place.mkdir()
    model_file(place / "visual.onnx", VISUAL)
    model_file(place / "textual.onnx", TEXTUAL)
    words = {"[UNK]": 0, "red": 1, "green": 2, "blue": 3}
    made = Tokenizer(models.WordLevel(words, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(place / "tokenizer.json"))
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, colour in (("a.png", (255, 0, 0)), ("b.png", (0, 0, 255))):
        Image.new("RGB", (5, 7), colour).save(photos / name)
    (tmp_path / "texts.txt").write_text("red\ngreen\nblue\n")
    return place


def inputs(folder: Path) -> list[str]:
    return [f"image={folder.parent / 'photos'}", f"text={folder.parent / 'texts.txt'}"]


def test_features_cosines_and_probabilities(folder: Path, tmp_path: Path) -> None:
    assert is_clip(folder)
    report = run_file(str(folder), inputs=inputs(folder), logit_scale=10.0)
    first, second = report.shown
    assert first["a.png"].startswith("red 0.9999")
    assert second["b.png"].startswith("blue 0.9999")
    out = tmp_path / "o.npz"
    run_file(str(folder), inputs=inputs(folder), logit_scale=10.0, output=str(out))
    with np.load(out) as found:
        np.testing.assert_allclose(np.linalg.norm(found["image_features"], axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(found["logits"][0], [10, 0, 0], atol=1e-5)
        np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-6)


def test_the_scale_is_the_models_own_or_asked_for(folder: Path) -> None:
    facts = {"logit_scale_init_value": 2.6592}
    (folder / "config.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="does not tell its logit scale") as caught:
        run_file(str(folder), inputs=inputs(folder))
    assert "where training began, 14.28" in caught.value.hint
    model = load(folder / "textual.onnx")
    model.metadata_props[LOGIT_SCALE] = "100.0"
    save(model, folder / "textual.onnx", force=True)
    assert run_file(str(folder), inputs=inputs(folder)).notes == ("logit scale 100",)


def test_halves_that_do_not_belong_together(folder: Path) -> None:
    other = TEXTUAL.replace("[4, 3] table = {1, 1, 1, 7, 0, 0, 0, 8, 0, 0, 0, 9}", "[4, 2] table")
    model_file(folder / "textual.onnx", other.replace(", 3] ", ", 2] "))
    with pytest.raises(BadInput, match="do not belong together"):
        run_file(str(folder), inputs=inputs(folder), logit_scale=1.0)
