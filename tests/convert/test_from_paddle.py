from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("paddle")

import paddle

from modelkit.convert import convert_file
from modelkit.errors import BadInput
from tests.convert import tables
from tests.convert.opsets import check_opsets
from tests.models import run


def images() -> np.ndarray:
    values, _ = tables.digits()
    return values.reshape(-1, 1, 8, 8).astype(np.float32) / 16


def picture() -> Any:
    nn = paddle.nn
    net = nn.Sequential(
        nn.Conv2D(1, 8, 3), nn.BatchNorm2D(8), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(),
        nn.Linear(72, 10), nn.Softmax(),
    )  # fmt: skip
    optimizer = paddle.optimizer.SGD(0.5, parameters=net.parameters())
    target = paddle.to_tensor(tables.digits()[1])
    for _ in range(5):
        found = net(paddle.to_tensor(images()))
        loss = nn.functional.nll_loss(paddle.log(found + 1e-6), target)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    return net


class Memory(paddle.nn.Layer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.memory = paddle.nn.LSTM(8, 16)
        self.head = paddle.nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.memory(x)[0][:, -1])


class Words(paddle.nn.Layer):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.table = paddle.nn.Embedding(50, 16)
        self.layers = paddle.nn.TransformerEncoder(paddle.nn.TransformerEncoderLayer(16, 2, 32), 1)

    def forward(self, x: Any) -> Any:
        return self.layers(self.table(x))


MODELS: dict[str, tuple[Any, list[int | None], str, Any]] = {
    "picture": (picture, [None, 1, 8, 8], "float32", lambda: images()[:9]),
    "memory": (Memory, [None, 5, 8], "float32", lambda: np.ones((3, 5, 8), np.float32) / 3),
    "words": (Words, [None, None], "int64", lambda: np.arange(14).reshape(2, 7)),
}


def saved(name: str, folder: Path) -> Any:
    make, shape, kind, _ = MODELS[name]
    paddle.seed(0)
    net = make()
    net.eval()
    spec = [paddle.static.InputSpec(shape, kind, "x")]
    paddle.jit.save(net, str(folder / "inference"), input_spec=spec)
    return net


@pytest.mark.parametrize("name", MODELS)
def test_the_result_is_what_paddle_gives(name: str, tmp_path: Path) -> None:
    net = saved(name, tmp_path / "net")
    report = convert_file(str(tmp_path / "net"), str(tmp_path / "m.onnx"))
    assert report.verification.passed
    values = MODELS[name][3]()
    found = next(iter(run(tmp_path / "m.onnx", {"x": values}).values()))
    np.testing.assert_allclose(found, net(paddle.to_tensor(values)).numpy(), atol=2e-6)


def test_program_and_weights_stand_for_both(tmp_path: Path) -> None:
    saved("picture", tmp_path)
    for name in ("inference.json", "inference.pdiparams"):
        report = convert_file(str(tmp_path / name), str(tmp_path / "m.onnx"), force=True)
        assert report.verification.passed
    (tmp_path / "inference.pdiparams").unlink()
    with pytest.raises(BadInput, match="has no weights"):
        convert_file(str(tmp_path / "inference.json"), str(tmp_path / "n.onnx"))


def test_broken_weights_are_told(tmp_path: Path) -> None:
    saved("memory", tmp_path)
    whole = (tmp_path / "inference.pdiparams").read_bytes()
    (tmp_path / "inference.pdiparams").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(BadInput, match="could not be loaded by Paddle"):
        convert_file(str(tmp_path), str(tmp_path / "n.onnx"))


def test_a_program_of_paddle_2(tmp_path: Path) -> None:
    """Written by Paddle 2.6.2 itself, with what it gave on 128 numbers from -1 to 1."""
    folder = Path(__file__).parent / "files" / "paddle-2.6"
    values = np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 1, 8, 8)
    for number, source in enumerate((folder, folder / "inference.pdmodel")):
        target = tmp_path / f"{number}.onnx"
        report = convert_file(str(source), str(target))
        assert report.verification.passed
        found = next(iter(run(target, {"x": values}).values()))
        np.testing.assert_allclose(found, np.load(folder / "expected.npy"), atol=2e-6)


def test_nothing_is_installed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of paddle2onnx start pip to fetch an optimizer."""
    saved("picture", tmp_path)
    started: list[object] = []
    monkeypatch.setattr("subprocess.Popen", lambda *words, **_: started.append(words))
    monkeypatch.setattr("os.system", lambda words: started.append(words))
    assert convert_file(str(tmp_path), str(tmp_path / "m.onnx")).verification.passed
    assert not started


def test_the_opset_asked_for_is_written_or_refused(tmp_path: Path) -> None:
    saved("picture", tmp_path / "net")
    check_opsets(tmp_path / "net", tmp_path, least=3)
