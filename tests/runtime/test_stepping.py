from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import UsageError
from modelkit.model import SharedCache, load, save
from modelkit.optimize.shared_cache import share_cache
from modelkit.optimize.sharing import share_cache_file
from modelkit.runtime.binding import bind, shared_cache
from modelkit.runtime.session import Feeds, Session, open_session
from modelkit.runtime.stepping import stepping
from tests.optimize.decoder import KEPT, ROWS, WIDTH, decoder, feeds


def cached(folder: Path, layers: int = 1) -> Path:
    shared, _ = share_cache(load(decoder(folder, layers)))
    return save(shared, folder / "shared.onnx")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Session, SharedCache]]:
    with open_session(cached(tmp_path)) as session:
        cache = shared_cache(session)
        assert cache is not None
        yield session, cache


def step(ids: np.ndarray, total: int) -> Feeds:
    return {"ids": ids, "attention_mask": np.ones((len(ids), total), np.int64)}


def test_caches_in_int8_are_kept_so(tmp_path: Path) -> None:
    path = decoder(tmp_path)
    report = share_cache_file(str(path), cache_type="int8", measure=False)
    ids = np.random.default_rng(3).integers(0, ROWS, (1, 30))
    with open_session(Path(report.written)) as session:
        cache = shared_cache(session)
        assert cache is not None
        run = stepping(session, cache)
        kept = {past: np.zeros((1, KEPT, 30, WIDTH), np.int8) for past in cache.presents.values()}
        for start, end in ((0, 9), *((at, at + 1) for at in range(9, 30))):
            given = step(ids[:, start:end], end)
            expected = session.run({**given, **kept})  # unbound: the runtime copies the caches
            kept = {past: expected[present] for present, past in cache.presents.items()}
            np.testing.assert_allclose(
                run(given)["logits"], expected["logits"], rtol=1e-3, atol=1e-4
            )


@pytest.mark.parametrize("batch", [1, 3])
def test_steps_give_what_the_decoder_gives_on_the_whole_text(tmp_path: Path, batch: int) -> None:
    ids = np.random.default_rng(3).integers(0, ROWS, (batch, 150))
    whole = feeds(batch, 150, 0, layers=2) | step(ids, 150)
    with open_session(cached(tmp_path, 2)) as session, open_session(tmp_path / "decoder.onnx") as d:
        cache = shared_cache(session)
        assert cache is not None
        run, expected = stepping(session, cache), d.run(whole)["logits"]
        for _ in range(2):  # a mask as long as the tokens begins anew
            parts = [run(step(ids[:, :20], 20))]
            # The buffers run out of places on the way, and are made larger.
            parts += [run(step(ids[:, at : at + 1], at + 1)) for at in range(20, 150)]
            assert all(set(part) == {"logits"} for part in parts)
            actual = np.concatenate([part["logits"] for part in parts], 1)
            np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def test_caches_that_are_given_come_back_and_stay_as_they_were(
    opened: tuple[Session, SharedCache],
) -> None:
    session, cache = opened
    given = feeds(1, 1, 6)
    given |= {
        name: np.pad(given[name], [(0, 0), (0, 0), (0, 3), (0, 0)])
        for name in cache.presents.values()
    }
    before = {name: array.copy() for name, array in given.items()}
    run = stepping(session, cache)
    actual, expected = run(given), session.run(given)
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-5)
    for name, array in before.items():
        np.testing.assert_array_equal(given[name], array)
    again = step(np.array([[4]]), 8)
    follows = {past: actual[present] for present, past in cache.presents.items()}
    np.testing.assert_allclose(
        run(again)["logits"], session.run({**again, **follows})["logits"], rtol=1e-4, atol=1e-5
    )


def test_nothing_of_a_cache_is_copied_between_steps(
    opened: tuple[Session, SharedCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, cache = opened
    places: list[dict[str, int]] = []

    def watched(session, binding, device, ready, held, cache) -> None:  # type: ignore[no-untyped-def]
        bind(session, binding, device, ready, held, cache)
        places.append({name: held[name].data_ptr() for name in cache.presents.values()})
        assert all(ready[name].ctypes.data == at for name, at in places[-1].items())

    monkeypatch.setattr("modelkit.runtime.stepping.bind", watched)
    run = stepping(session, cache)
    run(step(np.array([[1, 2]]), 2))
    for total in range(3, 60):
        run(step(np.array([[total % ROWS]]), total))
    assert len(places) == 58
    assert all(place == places[0] for place in places)


def test_a_step_that_follows_nothing_is_refused(opened: tuple[Session, SharedCache]) -> None:
    run = stepping(*opened)
    with pytest.raises(UsageError, match="a step on 3 filled places follows one that left 0"):
        run(step(np.array([[1]]), 4))
    run(step(np.array([[1, 2, 3]]), 3))
    for wrong, words in (
        (step(np.array([[1]]), 6), "5 filled places follows one that left 3"),
        (step(np.array([[1], [2]]), 4), "batch 2 follows one of batch 1"),
        (step(np.array([[1, 2, 3]]), 2), "2 long, and 3 tokens come"),
        ({"ids": np.array([[1]])}, "'attention_mask' got no value"),
        (step(np.array([[1.5]]), 4), "float64"),
        (step(np.array([[1]]), 4) | {"past_key_0": feeds(1, 1, 3)["past_key_0"]}, "other caches"),
        (feeds(1, 1, 3) | {"past_key_0": np.ones((1, 2), np.float32)}, "past_key_0"),
    ):
        with pytest.raises(UsageError, match=words):
            run(wrong)
    assert set(run(step(np.array([[1]]), 4))) == {"logits"}  # as if nothing had happened
