from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import BadInput, UsageError
from modelkit.runtime.data import read_data
from modelkit.runtime.data.images import image_port, read_image
from modelkit.runtime.data.settings import Preprocessing
from modelkit.runtime.ports import Port

Image = pytest.importorskip("PIL.Image")
NCHW = Port("x", "float32", ("n", 3, 4, 6))
NHWC = Port("x", "uint8", (1, None, None, 3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = 200, 100, 50
    pixels[:, 6:] = (10, 20, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_the_size_and_layout_of_the_input(path: Path) -> None:
    found = read_image(path, NCHW, Preprocessing(resample="nearest"))
    assert (found.shape, found.dtype.name) == ((1, 3, 4, 6), "float32")
    assert found[0, :, 0, 0].tolist() == [200, 100, 50]
    assert found[0, :, 3, 5].tolist() == [10, 20, 30]
    raw = read_image(path, NHWC, Preprocessing())
    assert (raw.shape, raw.dtype.name) == ((1, 8, 12, 3), "uint8")


def test_scale_mean_std_and_order(path: Path) -> None:
    settings = Preprocessing(scale=1 / 100, mean=(1, 0, 0), std=(2,), channels="bgr")
    found = read_image(path, NCHW, settings)
    # Blue first: (0.5 - 1) / 2, (1 - 0) / 2, (2 - 0) / 2.
    np.testing.assert_allclose(found[0, :, 0, 0], [-0.25, 0.5, 1.0], rtol=1e-6)
    gray = read_image(path, Port("x", "float32", (1, 1, 4, 6)), Preprocessing(channels="gray"))
    assert gray.shape == (1, 1, 4, 6)


def test_shortest_side_and_crop(path: Path) -> None:
    free = Port("x", "float32", ("n", 3, None, None))
    assert read_image(path, free, Preprocessing(resize=(4,))).shape == (1, 3, 4, 6)
    cut = read_image(path, free, Preprocessing(resize=(4,), crop=(4, 4)))
    assert cut.shape == (1, 3, 4, 4)


def test_a_folder_of_images_in_batches(path: Path) -> None:
    for name in ("b.png", "c.png"):
        (path.parent / name).write_bytes(path.read_bytes())
    samples = list(read_data(path.parent, [NCHW]))
    assert len(samples) == 3
    from modelkit.runtime.data import read_samples

    batches = list(read_samples(path.parent, [NCHW], settings=Preprocessing(), batch=2))
    assert [sample.feeds["x"].shape[0] for sample in batches] == [2, 1]
    assert batches[0].name == "a.png"


def test_files_and_models_that_do_not_fit(path: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff rubbish")
    with pytest.raises(BadInput, match="not an image"):
        read_image(tmp_path / "bad.jpg", NCHW, Preprocessing())
    with pytest.raises(UsageError, match="1, 2 or 3 values|has 2 values"):
        read_image(path, NCHW, Preprocessing(mean=(1, 2)))
    with pytest.raises(BadInput, match="do not fit uint8"):
        read_image(path, NHWC, Preprocessing(scale=2))
    with pytest.raises(UsageError, match="one input with four axes"):
        image_port([Port("x", "float32", ("n", 3))])
