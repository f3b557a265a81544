import numpy as np
import pytest

from modelkit.errors import UsageError
from modelkit.quantize.blocks import Blocks, fit, levels_of, nearest, packed, split


def weight(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def decibels(expected: np.ndarray, actual: np.ndarray) -> float:
    return float(10 * np.log10((expected**2).sum() / ((actual - expected) ** 2).sum()))


@pytest.mark.parametrize("rows", [64, 77, 5])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "least"), [(4, 18), (8, 43)])
def test_levels_stand_for_nearly_the_weight(
    rows: int, symmetric: bool, bits: int, least: float
) -> None:
    blocks, w = Blocks(bits, 32, symmetric), weight(rows, 24)
    found = nearest(w, blocks)
    assert found.levels.shape == (24, blocks.count(rows), 32)
    assert (found.zero is None) == symmetric
    assert decibels(w, found.values(blocks, rows)) > least


def test_the_search_beats_the_plain_range() -> None:
    w, blocks = weight(512, 64), Blocks(4, 32)
    piece = split(w, blocks)
    plain = np.abs(piece).max(-1) / 7
    levels = np.clip(np.rint(piece / plain[..., None]) + 8, 0, 15)
    before = ((levels - 8) * plain[..., None]).reshape(64, -1).T
    assert decibels(w, nearest(w, blocks).values(blocks, 512)) > decibels(w, before) + 0.8


def test_importance_moves_the_error_away_from_what_matters() -> None:
    blocks = Blocks(4, 32)
    piece = split(weight(32, 200), blocks)
    importance = np.full(32, 1e-3, np.float32)
    importance[:4] = 1
    errors = []
    for weigh in (None, importance):
        scale, zero = fit(piece, blocks, weigh)
        off = (levels_of(piece, scale, zero, blocks) - 8.0) * scale[..., None] - piece
        errors.append((off[..., :4] ** 2).sum())
    assert errors[1] < 0.9 * errors[0]


def test_zeros_and_one_value_are_exact() -> None:
    for symmetric in (True, False):
        for value in (0.0, -3.0, 2.5):
            w = np.full((40, 3), value, np.float32)
            blocks = Blocks(4, 16, symmetric)
            np.testing.assert_allclose(nearest(w, blocks).values(blocks, 40), w, rtol=1e-6)


def test_two_levels_share_a_byte_the_first_in_the_low_half() -> None:
    assert packed(np.array([1, 2, 3], np.uint8), 4).tolist() == [0x21, 0x03]
    assert packed(np.array([1, 2, 3], np.uint8), 8).tolist() == [1, 2, 3]


def test_pieces_of_a_large_layer_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    w, blocks = weight(64, 40), Blocks(4, 32, symmetric=False)
    whole = nearest(w, blocks)
    monkeypatch.setattr("modelkit.quantize.blocks._AT_ONCE", 300)
    np.testing.assert_array_equal(nearest(w, blocks).levels, whole.levels)


@pytest.mark.parametrize("wrong", [{"bits": 5}, {"size": 48}])
def test_what_has_no_kernel_is_a_usage_error(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="no kernel"):
        Blocks(**wrong)  # type: ignore[arg-type]


def test_the_room_taken_is_told() -> None:
    blocks = Blocks(4, 32, symmetric=False)
    found = nearest(weight(77, 10), blocks)
    assert found.zero is not None
    parts = packed(found.levels, 4), found.scale, packed(found.zero, 4)
    assert blocks.nbytes(77, 10) == sum(part.nbytes for part in parts)
