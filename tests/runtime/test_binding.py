from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import UsageError
from modelkit.model import SharedCache, load, save, write_cache
from modelkit.optimize.shared_cache import share_cache
from modelkit.runtime.bench import onnx_candidate
from modelkit.runtime.binding import bound, roomy, shared_cache, to_float, to_int8
from modelkit.runtime.providers import CPU
from modelkit.runtime.session import open_session
from tests.models import linear_text, model_file
from tests.optimize.decoder import decoder, feeds


def test_runs_on_new_inputs_and_checks_them(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(8, 3))
    with open_session(path) as session:
        run = bound(session, CPU)
        for rows in (2, 2, 5):
            assert run({"x": np.ones((rows, 8), np.float32)}) == {}
        with pytest.raises(UsageError, match="float64"):
            run({"x": np.ones((2, 8))})


def test_texts_cannot_be_bound(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (string[n] x) => (string[n] y)
    { y = Identity(x) }"""
    with open_session(model_file(tmp_path / "m.onnx", text)) as session:
        run = bound(session, CPU)
        with pytest.raises(UsageError, match="'x' is text"):
            run({"x": np.array(["a", "b"], object)})


def cached(tmp_path: Path) -> Path:
    model = load(decoder(tmp_path))
    shared, _ = share_cache(model)
    return save(shared, tmp_path / "shared.onnx")


def test_a_shared_cache_is_bound_once_and_given_room(tmp_path: Path) -> None:
    path = cached(tmp_path)
    given = feeds(1, 1, 6)
    with open_session(path) as session:
        cache = shared_cache(session)
        assert cache is not None
        assert roomy(given, cache)["past_key_0"].shape[2] == 7
        assert roomy(given, cache)["ids"] is given["ids"]
        assert bound(session, CPU)(given) == {}
    with onnx_candidate(path).open() as run:
        assert run(given) == {}


def test_metadata_that_names_what_is_not_there_is_no_cache(tmp_path: Path) -> None:
    model = load(model_file(tmp_path / "m.onnx", linear_text(8, 3)))
    write_cache(model, SharedCache({"y": "past"}, "mask", "ids"))
    with open_session(save(model, tmp_path / "n.onnx")) as session:
        assert shared_cache(session) is None


def test_a_cache_in_int8_is_made_from_floats() -> None:
    random = np.random.default_rng(0)
    value = random.standard_normal((2, 3, 5, 4)).astype(np.float32)
    scales = np.abs(value).max((0, 2)).reshape(-1) / 127
    packed = to_int8(value, scales.tolist())
    assert packed.dtype == np.int8
    assert np.abs(to_float(packed, scales.tolist()) - value).max() <= scales.max() / 2 + 1e-6
    cache = SharedCache({"now": "past"}, "mask", "ids", {"past": tuple(scales.tolist())})
    ready = roomy({"mask": np.ones((2, 7)), "past": value}, cache)["past"]
    assert ready.dtype == np.int8
    assert ready.shape == (2, 3, 7, 4)
    assert roomy({"mask": np.ones((2, 5)), "past": packed}, cache)["past"] is packed
