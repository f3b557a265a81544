from pathlib import Path

import onnx
import pytest

from modelkit import __version__
from modelkit.model import add_step, history, load, strip_debug
from modelkit.model.provenance import KEY
from tests.models import linear_text, model_file, parsed


def test_steps_pile_up_and_hold_no_time_or_path(tmp_path: Path) -> None:
    model = load(model_file(tmp_path / "m.onnx", linear_text(8, 3)))
    add_step(model, "convert", {"opset": 20}, "a")
    add_step(model, "optimize", {"level": "all"}, "b", ["gelu x2"])
    steps = history(model)
    assert [step["verb"] for step in steps] == ["convert", "optimize"]
    assert set(steps[1]) == {"verb", "recipe", "source_sha256", "modelkit", "decisions"}
    assert steps[1]["modelkit"] == __version__
    assert str(tmp_path) not in model.metadata_props[KEY]


@pytest.mark.parametrize("text", ["{", "3", "[1, null]", "[" * 5000])
def test_a_broken_history_is_empty(tmp_path: Path, text: str) -> None:
    model = load(model_file(tmp_path / "m.onnx", linear_text(8, 3)))
    model.metadata_props[KEY] = text
    assert history(model) == []


def test_stack_traces_and_doc_strings_of_exporters_go(tmp_path: Path) -> None:
    proto = parsed(linear_text(8, 3))
    node = proto.graph.node[0]
    node.doc_string = "/home/user/secret.py"
    for key in ("pkg.torch.onnx.stack_trace", "namespace", "kept"):
        node.metadata_props.append(onnx.StringStringEntryProto(key=key, value="/home/user/x.py"))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    model = load(path)
    assert strip_debug(model) == 3
    first = next(iter(model.graph))
    assert dict(first.metadata_props) == {"kept": "/home/user/x.py"}
    assert not first.doc_string
