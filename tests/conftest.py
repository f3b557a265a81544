"""Which marked tests can run here, and how parameters are named."""

import shutil

import onnxruntime
import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of what this machine does not have, each with the reason."""
    card = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    for item in items:
        if item.get_closest_marker("gpu") and not card:
            item.add_marker(pytest.mark.skip(reason="no CUDA card, or no build that drives it"))
        if item.get_closest_marker("browser") and not browser:
            item.add_marker(pytest.mark.skip(reason="no Chromium"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: archives hold the time, and workers must collect alike."""
    return argname if isinstance(val, bytes) else None
