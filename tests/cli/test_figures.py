import pytest

from modelkit.cli import figures
from modelkit.reports import Interval


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (22_600_000, "22.6 MB"),
        (3_000_000_000, "3.0 GB"),
    ],
)
def test_byte_size(size: int, text: str) -> None:
    assert figures.byte_size(size) == text


@pytest.mark.parametrize(
    ("number", "text"), [(7, "7"), (9999, "9999"), (10_000, "10.0K"), (22_713_216, "22.7M")]
)
def test_count(number: int, text: str) -> None:
    assert figures.count(number) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "12.3 µs"), (1.5, "1.50 ms"), (123.4, "123 ms")]
)
def test_milliseconds(value: float, text: str) -> None:
    assert figures.milliseconds(value) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 FLOP"), (6, "6 FLOP"), (8192, "8.192 kFLOP"), (2.5e6, "2.5 MFLOP"), (3e13, "30 TFLOP")],
)
def test_operations(number: float, text: str) -> None:
    assert figures.operations(number) == text


def test_factor_decibels_scientific() -> None:
    assert figures.factor(Interval(2.0, 1.96, 2.04)) == "2.00x (1.96-2.04)"
    assert figures.decibels(18.53) == "18.5 dB"
    assert figures.decibels(float("inf")) == "equal"
    assert figures.scientific(0) == "0"
    assert figures.scientific(3.21e-7) == "3.2e-07"
