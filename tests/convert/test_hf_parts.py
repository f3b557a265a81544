from pathlib import Path

import numpy as np
import pytest
import torch

from modelkit.convert.from_transformers import open_model
from modelkit.convert.source import Options
from modelkit.errors import UsageError
from tests.convert import parts
from tests.convert.parts import IDS, MASK, check, reference, saved


def test_the_towers_of_clip(tmp_path: Path) -> None:
    model = parts.made(parts.clip)
    folder = saved(model, tmp_path)
    pixels = torch.randn(2, 3, 16, 16)
    whole = model(input_ids=IDS, attention_mask=MASK, pixel_values=pixels)
    text = reference(folder, "textual", {"input_ids": IDS, "attention_mask": MASK})["text_embeds"]
    image = reference(folder, "visual", {"pixel_values": pixels})["image_embeds"]
    check(text / np.linalg.norm(text, axis=1, keepdims=True), whole.text_embeds)
    check(image / np.linalg.norm(image, axis=1, keepdims=True), whole.image_embeds)
    with pytest.raises(UsageError, match="two towers") as caught:
        open_model(folder, "transformers", Options())
    assert "--task textual" in caught.value.hint
