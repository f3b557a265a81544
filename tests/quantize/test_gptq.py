import numpy as np
import pytest

from modelkit.quantize.blocks import Blocks, nearest
from modelkit.quantize.gptq import Guided


def correlated(rows: int, width: int, seed: int = 0) -> np.ndarray:
    """Inputs of few directions and very different sizes, as those of trained layers are."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((rows, width // 4)) @ random.standard_normal((width // 4, width))
    sizes = np.exp(random.standard_normal(width))
    return (mixed + 0.3 * random.standard_normal((rows, width))) * sizes


def products_noise(x: np.ndarray, weight: np.ndarray, other: np.ndarray) -> float:
    return float(((x @ other - x @ weight) ** 2).sum())


@pytest.mark.parametrize("width", [96, 77, 300])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("size", [32, 256])
def test_products_keep_more_than_by_the_nearest_levels(
    width: int, symmetric: bool, size: int
) -> None:
    weight = np.random.default_rng(1).standard_normal((width, 40)).astype(np.float32)
    blocks, x = Blocks(4, size, symmetric), correlated(500, width)
    found = Guided(x.T @ x)(weight, blocks)
    plain = nearest(weight, blocks)
    unseen = correlated(500, width)[::-1]
    led = products_noise(unseen, weight, found.values(blocks, width))
    assert led < 0.6 * products_noise(unseen, weight, plain.values(blocks, width))
    assert found.levels.shape == plain.levels.shape
    assert found.levels.max() <= 15


def test_the_error_is_that_of_the_products() -> None:
    random = np.random.default_rng(0)
    x, weight = random.standard_normal((50, 32)), random.standard_normal((32, 8))
    other = weight + 0.1 * random.standard_normal((32, 8))
    lead = Guided(x.T @ x)
    assert lead.error(weight, other) == pytest.approx(products_noise(x, weight, other))
    assert lead.signal(weight) == pytest.approx(((x @ weight) ** 2).sum())


def test_inputs_that_are_always_zero_or_fewer_than_channels_do_no_harm() -> None:
    x = correlated(20, 128)
    x[:, 5] = 0
    weight = np.random.default_rng(2).standard_normal((128, 8)).astype(np.float32)
    blocks = Blocks(4, 32)
    found = Guided(x.T @ x)(weight, blocks)
    noise = products_noise(x, weight, found.values(blocks, 128))
    assert noise < products_noise(x, weight, nearest(weight, blocks).values(blocks, 128))
    nothing = Guided(np.zeros((128, 128)))(weight, blocks)
    assert np.isfinite(nothing.scale).all()


def test_the_weight_moves_to_make_up_for_inputs_that_are_off() -> None:
    weight = np.random.default_rng(1).standard_normal((64, 16)).astype(np.float32)
    right = correlated(900, 64)
    off = right + 0.2 * np.random.default_rng(2).standard_normal(right.shape) * right.std(0)
    noise = []
    for drift in (None, off.T @ (right - off)):
        values = Guided(off.T @ off, drift)(weight, Blocks(8, 32)).values(Blocks(8, 32), 64)
        noise.append(float(((off @ values - right @ weight) ** 2).sum()))
    assert noise[1] < 0.8 * noise[0]
