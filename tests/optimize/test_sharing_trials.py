from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import CheckFailed, UsageError
from modelkit.model import load
from modelkit.optimize.shared_cache import share_cache
from modelkit.optimize.sharing_trials import Job, check_type
from modelkit.runtime.session import Feeds
from tests.optimize.decoder import KEPT, WIDTH, decoder


def job(folder: Path, scales: dict[str, list[float]] | None = None) -> Job:
    path = decoder(folder)
    model = load(path)
    return Job(path, model, share_cache(model, scales)[1])


def test_caches_are_what_prompts_leave_and_one_row_is_padded(tmp_path: Path) -> None:
    found = job(tmp_path)
    with found.reference() as reference:
        trials = [feeds for feeds, _ in found.proposal(reference.source).trials]
        for feeds in trials:
            outputs = reference(feeds)
            assert outputs["present_key_0"].shape[2] == feeds["attention_mask"].shape[1]
    shapes = [feeds["past_key_0"].shape for feeds in trials]
    assert shapes[0] == (1, KEPT, 60, WIDTH)
    assert shapes[3] == (1, KEPT, 0, WIDTH)
    assert trials[1]["attention_mask"][-1, :4].tolist() == [0, 0, 0, 1]
    assert np.abs(trials[0]["past_value_0"]).max() > 0


def test_scales_reach_the_largest_entry_and_the_reference_speaks_int8(tmp_path: Path) -> None:
    plain = job(tmp_path)
    scales, note = plain.scales(None)
    assert "GENERATED" in note
    assert {name: len(values) for name, values in scales.items()} == {
        "past_key_0": KEPT * WIDTH,
        "past_value_0": KEPT * WIDTH,
    }
    kept = job(tmp_path, scales)
    with kept.reference() as reference:
        feeds = kept.proposal(reference.source).trials[0][0]
        assert feeds["past_key_0"].dtype == np.int8
        outputs = reference(feeds)
        np.testing.assert_array_equal(outputs["present_key_0"][:, :, :60], feeds["past_key_0"])
        plain_feeds = kept.proposal(reference.source, typed=False).trials[0][0]
        assert plain_feeds["past_key_0"].dtype == np.float32


def test_infinity_in_a_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = job(tmp_path)

    def broken(self: object, feeds: Feeds) -> Feeds:
        return {name: np.full((1, KEPT, 3, WIDTH), np.inf) for name in found.cache.presents}

    monkeypatch.setattr("modelkit.runtime.session.Session.run", broken)
    monkeypatch.setattr(Job, "_samples", lambda self, session, data: iter([{}]))
    with pytest.raises(CheckFailed, match="'present_key_0' holds NaN"):
        found.scales(None)


def test_types_are_checked() -> None:
    check_type("int8", "x.npz")
    for kind, data in (("fp8", None), ("float32", "x.npz")):
        with pytest.raises(UsageError):
            check_type(kind, data)
