from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import CheckFailed, Unsupported, UsageError
from modelkit.model import history, load, read_cache
from modelkit.optimize import sharing
from modelkit.optimize.sharing import share_cache_file
from modelkit.quantize import quantize_file
from modelkit.reports import Interval, SpeedVerdict
from modelkit.runtime.stepping import stepping
from tests.models import Feeds, linear_text, model_file
from tests.optimize.decoder import KEPT, WIDTH, decoder, feeds


def test_a_decoder_is_proven_and_written(tmp_path: Path) -> None:
    report = share_cache_file(str(decoder(tmp_path, 2)), measure=False)
    assert report.written == str(tmp_path / "decoder.cache.onnx")
    assert len(report.verification.trials) == 5
    assert report.operators_after["com.microsoft.GroupQueryAttention"] == 2
    written = load(Path(report.written))
    assert read_cache(written.metadata_props) is not None
    assert history(written)[-1]["decisions"] == ["2 caches shared"]


def test_a_quantized_decoder_too(tmp_path: Path) -> None:
    path = decoder(tmp_path)
    small = quantize_file(str(path), mode="int8-weights", measure=False).written
    report = share_cache_file(small, measure=False)
    assert report.verification.passed
    assert report.verification.trials[0].errors[0].metric == "sqnr"


def test_wrong_results_are_refused_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = decoder(tmp_path)
    real = stepping

    def wrong(session: object, cache: object) -> object:
        run = real(session, cache)  # type: ignore[arg-type]
        return lambda feeds: {name: value + np.float32(0.1) for name, value in run(feeds).items()}

    monkeypatch.setattr(sharing, "stepping", wrong)
    with pytest.raises(CheckFailed, match="with shared caches"):
        share_cache_file(str(path), measure=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["decoder.onnx"]


def test_other_models_have_no_cache(tmp_path: Path) -> None:
    path = model_file(tmp_path / "m.onnx", linear_text(8, 8))
    with pytest.raises(Unsupported, match="cannot be shared"):
        share_cache_file(str(path))


def test_slower_steps_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = decoder(tmp_path, 2)
    seen = []

    def lost(old: Path, new: Path, given: Feeds) -> SpeedVerdict:
        seen.append(given["past_key_1"].shape)
        return SpeedVerdict(Interval(0.9, 0.89, 0.91), False, "slower than the source")

    monkeypatch.setattr(sharing, "gate", lost)
    with pytest.raises(CheckFailed, match="decodes slower with shared caches"):
        share_cache_file(str(path))
    assert seen == [(1, 2, 511, 8)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["decoder.onnx"]


def test_caches_in_int8_on_given_and_generated_tokens(tmp_path: Path) -> None:
    path = decoder(tmp_path, 2)
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(4):
        np.savez(folder / f"{number}.npz", **feeds(2, 30, 0, 2, number))  # type: ignore[arg-type]
    for data in (None, str(folder)):
        report = share_cache_file(
            str(path), cache_type="int8", calib_data=data, measure=False, force=True
        )
        assert report.verification.passed
        assert ("GENERATED" in report.notes[1]) == (data is None)
    cache = read_cache(load(Path(report.written)).metadata_props)
    assert cache is not None
    assert len(cache.scales["past_key_0"]) == KEPT * WIDTH
    assert report.result.bytes < 1.2 * report.source.bytes


def test_wrong_choices_are_usage_errors(tmp_path: Path) -> None:
    path = str(decoder(tmp_path))
    with pytest.raises(UsageError, match="int4 is unknown"):
        share_cache_file(path, cache_type="int4")
    with pytest.raises(UsageError, match="is for --cache-type int8"):
        share_cache_file(path, calib_data="x.npz")
