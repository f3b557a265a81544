import numpy as np
import pytest

from modelkit.runtime import pictures


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (("n", 3, "h", "w"), True),
        (("n", 224, 224, 3), True),
        (("n", 1, 28, 28), True),
        (("n", 12, "s", 64), False),
        (("n", 3, "s"), False),
    ],
)
def test_what_may_be_a_picture(shape: tuple[int | str, ...], expected: bool) -> None:
    assert pictures.is_picture(shape) == expected


@pytest.mark.parametrize("shape", [(2, 3, 40, 64), (2, 40, 64, 3), (1, 1, 1, 1), (0, 3, 8, 8)])
def test_a_picture_has_the_shape_asked_for(shape: tuple[int, ...]) -> None:
    drawn = pictures.draw(shape, np.random.default_rng(0))
    assert drawn.shape == shape
    assert drawn.dtype == np.float32


def test_bars_on_a_light_ground_no_two_alike() -> None:
    drawn = pictures.draw((2, 3, 64, 64), np.random.default_rng(0))
    assert drawn.max() == pytest.approx(1.6)
    assert 0.05 < (drawn < 1.5).mean() < 0.95
    assert not np.array_equal(drawn[0], drawn[1])
    again = pictures.draw((2, 3, 64, 64), np.random.default_rng(0))
    assert np.array_equal(drawn, again)
