import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from modelkit.convert.hub import parse_address, wanted
from modelkit.errors import UsageError
from tests.convert import samples
from tests.convert.hub_server import COMMIT, serving
from tests.models import run

ROOT = Path(__file__).parents[2]
FETCH = """
import json, sys
from modelkit.convert.hub import fetch
from modelkit.errors import ModelkitError
for address in sys.argv[1:]:
    try:
        found = fetch(address)
        print(json.dumps([str(found.folder), found.commit, found.notes]))
    except ModelkitError as error:
        print(json.dumps([error.code, error.message, error.cause, error.hint]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with its model, code, and the model once more for another runtime."""
    folder = tmp_path_factory.mktemp("repository")
    samples.bert_folder(folder, "BertForSequenceClassification")
    (folder / "vocab.txt").write_text("a\n")
    (folder / "modeling.py").write_text("raise SystemExit('code of the repository ran')\n")
    (folder / "pytorch_model.bin").write_bytes(b"the same weights once more")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    return folder


@pytest.fixture
def hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    with serving(folder) as served:
        yield served


def child(url: str, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {
        k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    }
    env |= {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=env, cwd=home, timeout=200
    )


def fetched(url: str, home: Path, *addresses: str) -> list[list[str]]:
    done = child(url, home, "-c", FETCH, *addresses)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_repository_is_converted_like_a_folder(
    hub: tuple[str, list[str]], folder: Path, tmp_path: Path
) -> None:
    url, asked = hub
    done = child(url, tmp_path, "-m", "modelkit", "convert", "hf:org/net@main", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["source"] == "hf:org/net@main"
    assert report["framework"] == "Hugging Face bert (text-classification)"
    assert report["written"] == "net.onnx"
    assert f"hf:org/net@{COMMIT}" in report["notes"][0]
    assert {"config.json", "vocab.txt"} <= set(report["copied"])
    files = {path.rpartition("/")[2] for path in asked if "/resolve/" in path}
    assert files == {"config.json", "model.safetensors", "vocab.txt"}
    model = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        expected = model(input_ids=ids).logits.numpy()
    ones = np.ones((1, 3), np.int64)
    feeds = {"input_ids": ids.numpy(), "attention_mask": ones, "token_type_ids": 0 * ones}
    np.testing.assert_allclose(run(tmp_path / "net.onnx", feeds)["logits"], expected, atol=2e-6)


def test_what_is_not_there_is_told(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    addresses = ("hf:org/net@nope", "hf:org/gated@main", "hf:org/other@main", "hf:org/net")
    revision, gated, other, unpinned = fetched(hub[0], tmp_path, *addresses)
    assert revision[:2] == ["no-such-revision", "org/net has no revision 'nope'"]
    assert gated[0] == "not-open" and "accept" in gated[3]
    assert other[0] == "no-such-file" and "hf auth login" in other[3]
    assert unpinned[0] == "unpinned" and "hf:org/net@main" in unpinned[3]


def test_the_cache_serves_when_the_network_does_not(folder: Path, tmp_path: Path) -> None:
    with serving(folder) as (url, asked):
        ((place, commit, notes),) = fetched(url, tmp_path, f"hf:org/net@{COMMIT}")
        assert (Path(place) / "model.safetensors").is_file()
        assert not (Path(place) / "modeling.py").exists()
        assert commit == COMMIT
        assert not notes
        assert not any("agent" in path or "telemetry" in path for path in asked)
    again, absent = fetched(url, tmp_path, f"hf:org/net@{COMMIT}", "hf:org/net@v2")
    assert again[0] == place
    assert "was not reached" in again[2][0]
    assert absent[0] == "not-fetched"
    assert "network" in absent[3]


@pytest.mark.parametrize("text", ["hf:org/net", "hf:org/net@"])
def test_an_address_needs_a_revision(text: str) -> None:
    with pytest.raises(UsageError, match="names no revision") as caught:
        parse_address(text)
    assert "hf:org/net@main" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["hf:net@main", "hf:a/b/c@main", "hf:../b@main", "hf:a/b@../..", "hf:a b/c@main"]
)
def test_what_is_no_address_is_a_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="is not hf:ORG/NAME@REV"):
        parse_address(text)


def test_addresses_and_files() -> None:
    assert parse_address("hf:org/my-net_2.0@refs/pr/3") == ("org/my-net_2.0", "refs/pr/3")
    weights = ["model-1.safetensors", "model.safetensors.index.json", "1_Dense/model.safetensors"]
    held = ["config.json", *weights, "pytorch_model.bin", "onnx/model.json", "net.py", ".git.json"]
    assert wanted(held) == sorted(["config.json", *weights])
    assert wanted(["a.bin", "config.json"]) == ["a.bin", "config.json"]
    assert wanted(["README.md", "config.json"]) == []
    assert wanted(["a.bin", "optimizer.bin", "sub/training_args.bin"]) == ["a.bin"]
    assert wanted(["consolidated.safetensors", "model.safetensors"]) == ["model.safetensors"]
