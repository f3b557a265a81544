from pathlib import Path

import numpy as np
import pytest
import torch

from modelkit.convert import convert_file
from modelkit.convert.openai_clip import part_of
from modelkit.errors import BadInput
from tests.models import run

# Written by open_clip 3.3.0's ModifiedResNet, layers (2, 1, 1, 1), width 2, in half precision as
# OpenAI's files are; the features are its own, of the pixels of seed 3.
WEIGHTS = Path(__file__).parent / "files" / "clip-resnet.pt"
FEATURES = WEIGHTS.with_name("clip-resnet-features.npy")


def test_the_image_tower_is_that_of_open_clip(tmp_path: Path) -> None:
    report = convert_file(str(WEIGHTS), str(tmp_path / "visual.onnx"), task="visual")
    assert report.framework == "OpenAI CLIP (visual)"
    assert report.inputs == ("pixel_values float[batch, 3, 64, 64]",)
    assert report.verification.passed
    pixels = np.random.default_rng(3).standard_normal((2, 3, 64, 64)).astype(np.float32)
    found = run(tmp_path / "visual.onnx", {"pixel_values": pixels})["image_embeds"]
    np.testing.assert_allclose(found, np.load(FEATURES), atol=1e-5)


@pytest.mark.parametrize("name", ["conv3.weight", "attnpool.q_proj.weight", "layer2.0.bn1.bias"])
def test_missing_weights_are_told(name: str) -> None:
    weights = torch.load(WEIGHTS, weights_only=True)
    del weights[f"visual.{name}"]
    with pytest.raises(BadInput, match="not those of OpenAI's CLIP"):
        part_of(weights, "visual")
