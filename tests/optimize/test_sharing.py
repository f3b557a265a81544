from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelkit.errors import CannotWrite, CheckFailed, Unsupported, UsageError
from modelkit.model import history, load, read_cache
from modelkit.optimize import sharing
from modelkit.optimize.sharing import share_cache_file
from modelkit.quantize import quantize_file
from modelkit.reports import Interval, SpeedVerdict
from modelkit.runtime.stepping import stepping
from tests.models import Feeds, linear_text, model_file
from tests.optimize.decoder import KEPT, WIDTH, decoder, feeds, text


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

    def lost(old: Path, new: Path, given: Feeds, *, threads: int) -> SpeedVerdict:
        seen.append((threads, given["past_key_1"].shape))
        return SpeedVerdict(Interval(0.9, 0.89, 0.91), False, "slower than the source")

    monkeypatch.setattr("modelkit.deliver.gate", lost)
    with pytest.raises(CheckFailed, match="decodes slower with shared caches"):
        share_cache_file(str(path), intra_op=3)
    assert seen == [(3, (1, 2, 511, 8))]
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


def test_the_same_again_is_up_to_date_and_other_choices_are_not(tmp_path: Path) -> None:
    path = str(decoder(tmp_path))
    first = share_cache_file(path, measure=False)
    stamp = Path(first.written).stat().st_mtime_ns
    again = share_cache_file(path, measure=False)
    assert (again.up_to_date, again.written, again.changes) == (True, first.written, ())
    assert again.verification.skipped == "the output is up to date"
    assert again.operators_after == first.operators_after
    assert Path(first.written).stat().st_mtime_ns == stamp
    with pytest.raises(CannotWrite, match="exists"):
        share_cache_file(path, measure=False, cache_type="int8")
    assert not share_cache_file(path, measure=False, force=True).up_to_date


def test_caches_in_int8_are_up_to_date_by_what_their_scales_come_from(tmp_path: Path) -> None:
    path, data, out = str(decoder(tmp_path)), tmp_path / "d.npz", str(tmp_path / "o.onnx")

    def made(**chosen: Any) -> bool:
        try:
            return share_cache_file(
                path, out, cache_type="int8", measure=False, **chosen
            ).up_to_date
        except CannotWrite:
            return False

    assert not made(seed=1)
    assert made(seed=1)
    assert not made(seed=2)
    np.savez(data, **feeds(4, 64, 0))  # type: ignore[arg-type]
    assert not made(calib_data=str(data), force=True)
    assert made(calib_data=str(data))
    np.savez(data, **feeds(4, 64, 0, seed=9))  # type: ignore[arg-type]
    assert not made(calib_data=str(data))


def test_a_mask_of_bool_is_shared_too(tmp_path: Path) -> None:
    words = text(2).replace("bias = Where(seen, none, low)", "").replace("bias,", "seen,")
    path = model_file(tmp_path / "m.onnx", words)
    report = share_cache_file(str(path), measure=False)
    assert report.verification.passed
    assert report.operators_after["Where"] == 1  # one for both layers
    assert report.operators_after["com.microsoft.GroupQueryAttention"] == 2
