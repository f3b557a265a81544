import argparse
import io
import os
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modelkit.convert.factory import build
from modelkit.convert.torch_files import (
    read_checkpoint,
    read_program,
    read_safetensors,
    read_script,
)
from modelkit.errors import BadInput
from tests.convert import samples


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def plain() -> torch.nn.Module:
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, activation="gelu")
    return torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), layer).eval()


def test_layers_of_torch_nn_are_loaded_unasked(tmp_path: Path) -> None:
    path, module = tmp_path / "net.pt", plain()
    torch.save(module, path)
    found = read_checkpoint(path, trust=False)
    x = torch.randn(3, 2, 8)
    assert torch.equal(found(x), module(x))


def test_the_old_format_gives_weights_unasked_and_modules_by_trust(tmp_path: Path) -> None:
    path, module = tmp_path / "net.pt", plain()
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=False)
    assert set(read_checkpoint(path, trust=False)) == set(module.state_dict())
    torch.save(module, path, _use_new_zipfile_serialization=False)
    with pytest.raises(BadInput, match="more than tensors and layers") as caught:
        read_checkpoint(path, trust=False)
    assert "--trust-source" in caught.value.hint
    assert isinstance(read_checkpoint(path, trust=True), torch.nn.Sequential)


def test_own_classes_need_trust(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(samples.linear(), path)
    with pytest.raises(BadInput) as caught:
        read_checkpoint(path, trust=False)
    assert "tests.convert.samples.Linear" in caught.value.message
    assert "--trust-source" in caught.value.hint
    assert isinstance(read_checkpoint(path, trust=True), samples.Linear)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bomb_does_not_go_off(tmp_path: Path, zipped: bool) -> None:
    path, canary = tmp_path / "net.pt", tmp_path / "canary"
    torch.save({"w": torch.zeros(2), "x": Bomb(canary)}, path,
               _use_new_zipfile_serialization=zipped)  # fmt: skip
    with pytest.raises(BadInput) as caught:
        read_checkpoint(path, trust=False)
    assert caught.value.code == "untrusted"
    assert not canary.exists()


def test_a_bomb_under_a_name_of_torch_nn_does_not_go_off(tmp_path: Path) -> None:
    """Modules of torch.nn import other things; only classes defined there are layers."""
    path, canary = tmp_path / "net.pt", tmp_path / "canary"
    torch.save({"a": 1}, path)
    held = io.BytesIO()
    attack = b"\x80\x02ctorch.nn.modules.module\nitertools.os.system\nX%c\0\0\0%s\x85R."
    text = f"touch {canary}".encode()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(held, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, attack % (len(text), text) if name.endswith("data.pkl") else data)
    path.write_bytes(held.getvalue())
    with pytest.raises(BadInput):
        read_checkpoint(path, trust=False)
    assert not canary.exists()


def test_a_namespace_beside_the_weights_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save({"args": argparse.Namespace(lr=1), "w": torch.zeros(1)}, path)
    with pytest.raises(BadInput, match="argparse"):
        read_checkpoint(path, trust=False)


@pytest.mark.parametrize("length", [0.3, 0.7, 0.99])
def test_cut_files_are_bad_input(tmp_path: Path, length: float) -> None:
    path = tmp_path / "net.pt"
    save_file({"w": torch.zeros(50)}, tmp_path / "net.safetensors")
    torch.save({"w": torch.zeros(50)}, path)
    for file, read in ((path, lambda p: read_checkpoint(p, trust=False)),
                       (tmp_path / "net.safetensors", read_safetensors)):  # fmt: skip
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * length)])
        with pytest.raises(BadInput, match="could not be loaded"):
            read(file)


def test_a_script_is_loaded_and_a_zip_of_something_else_is_not(tmp_path: Path) -> None:
    torch.jit.script(samples.linear()).save(str(tmp_path / "net.pt"))
    assert read_script(tmp_path / "net.pt")(torch.zeros(1, 8)).shape == (1, 4)
    torch.save({"w": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(BadInput, match="could not be loaded"):
        read_script(tmp_path / "weights.pt")


def test_a_program_is_never_loaded_unasked(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "canary")))
    with pytest.raises(BadInput, match="can run code"):
        read_program(path, trust=False)
    assert not (tmp_path / "canary").exists()
    with pytest.raises(BadInput, match="could not be loaded"):
        read_program(tmp_path / "nothere.pt2", trust=True)


def test_trusted_classes_are_found_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import torch\nclass Own(torch.nn.Linear):\n    pass\ndef make():\n    return Own(2, 2)\n"
    )
    (tmp_path / "net_of_a_user.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    torch.save(build("net_of_a_user:make"), tmp_path / "net.pt")
    monkeypatch.delitem(sys.modules, "net_of_a_user")
    assert type(read_checkpoint(tmp_path / "net.pt", trust=True)).__name__ == "Own"
    monkeypatch.delitem(sys.modules, "net_of_a_user")
    (tmp_path / "net_of_a_user.py").unlink()
    with pytest.raises(BadInput, match="needs the Python module 'net_of_a_user'"):
        read_checkpoint(tmp_path / "net.pt", trust=True)
