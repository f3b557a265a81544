import pytest

from modelkit.runtime.cuda import Build, driver_limit, mismatches, packages

BUILD = Build("12.8", "9.10")


def test_pieces_that_fit() -> None:
    held = {"nvidia-cuda-runtime-cu12": "12.8.90", "nvidia-cudnn-cu12": "9.10.2.21"}
    assert not list(mismatches(BUILD, held, "12.9"))
    assert not list(mismatches(Build(), {"nvidia-cublas-cu11": "11.0"}, "10.0"))


@pytest.mark.parametrize(
    ("held", "driver", "words"),
    [
        ({"nvidia-cublas-cu11": "11.11"}, "12.9", "is for CUDA 11"),
        ({"nvidia-cuda-runtime": "13.0.1"}, "13.0", "is for CUDA 13"),
        ({"nvidia-cudnn-cu12": "8.9.7"}, "12.9", "not the cuDNN 9"),
        ({}, "11.4", "install a newer driver"),
    ],
)
def test_what_does_not_fit_is_told(held: dict[str, str], driver: str, words: str) -> None:
    (line,) = mismatches(BUILD, held, driver)
    assert words in line


def test_looking_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(packages(), dict)
    monkeypatch.setenv("PATH", "")
    assert driver_limit() == ""
