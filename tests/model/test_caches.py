from pathlib import Path

from modelkit.model import SharedCache, load, read_cache, save, write_cache
from modelkit.model.caches import KEY
from tests.models import linear_text, model_file


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    model = load(model_file(tmp_path / "m.onnx", linear_text(4, 4)))
    cache = SharedCache({"present": "past"}, "mask", "ids", {"past": (0.5, 0.25)})
    write_cache(model, cache)
    assert read_cache(load(save(model, tmp_path / "n.onnx")).metadata_props) == cache


def test_nonsense_is_nothing() -> None:
    for text in ("", "null", "7", "[]", '{"presents": 3}', '{"presents": {}, "mask": "m"}'):
        assert read_cache({KEY: text}) is None
    assert read_cache({}) is None
