from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import Unsupported
from modelkit.model import SharedCache, load, read_cache, save, validate
from modelkit.optimize.shared_cache import share_cache
from tests.models import model_file, run
from tests.optimize.decoder import decoder, feeds, text


@pytest.mark.parametrize("layers", [1, 2])
def test_the_model_computes_the_same_with_more_places_than_needed(
    tmp_path: Path, layers: int
) -> None:
    path = decoder(tmp_path, layers)
    model, cache = share_cache(load(path))
    validate(model)
    result = save(model, tmp_path / "shared.onnx")
    assert [n.op_type for n in model.graph].count("GroupQueryAttention") == layers
    assert read_cache(load(result).metadata_props) == cache
    assert cache.presents["present_key_0"] == "past_key_0"
    for batch, tokens, past in ((1, 1, 9), (3, 1, 4), (1, 5, 3), (2, 6, 0), (1, 1, 0)):
        given = feeds(batch, tokens, past, layers)
        if tokens == 1 and batch > 1:
            given["attention_mask"][-1, :2] = 0
        expected, total = run(path, given), past + tokens
        for spare in (0, tokens, tokens + 5):
            wide = {
                name: np.pad(value, [(0, 0), (0, 0), (0, spare), (0, 0)], constant_values=1e3)
                if "past" in name
                else value
                for name, value in given.items()
            }
            actual = run(result, wide)
            for name, value in expected.items():
                found = actual[name][:, :, :total] if "present" in name else actual[name]
                np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace("kv_num_heads=2", "kv_num_heads=2, softcap=3.0"), "softcap"),
        (lambda t: t.replace("int64[batch, total] attention_mask", "int64[total] attention_mask")
                    .replace("axes = Concat<axis=0>(second, third)", "axes = Identity(first)"), "no mask"),
        (lambda t: t.replace("bias, past_key_0, past_value_0)", "bias)"), "takes a past"),
        (lambda t: t.replace("c0, bias,", "c0, ,"), "no mask of float32"),
        (lambda t: t.replace("logits = MatMul(h0, head)", "s = ReduceSum(past_key_0) h1 = Add(h0, s) logits = MatMul(h1, head)"), "ReduceSum"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_says_why(tmp_path: Path, change: object, words: str) -> None:
    changed = change(text())  # type: ignore[operator]
    assert changed != text()
    path = model_file(tmp_path / "m.onnx", changed)
    with pytest.raises(Unsupported) as error:
        share_cache(load(path))
    assert words in (error.value.cause or "")


def test_its_source_is_left_alone(tmp_path: Path) -> None:
    model = load(decoder(tmp_path))
    before = [node.op_type for node in model.graph]
    _, cache = share_cache(model)
    assert [node.op_type for node in model.graph] == before
    assert isinstance(cache, SharedCache)
    assert read_cache(model.metadata_props) is None
