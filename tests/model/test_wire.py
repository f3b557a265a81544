import numpy as np
import onnx
import pytest

from modelkit.model import wire
from tests.models import linear_text, parsed


def test_large_tensors_become_notes_and_the_rest_stays() -> None:
    data = parsed(linear_text(8, 300)).SerializeToString()
    light = onnx.ModelProto.FromString(wire.without_weights(memoryview(data)))
    weight, bias = light.graph.initializer
    note = {entry.key: entry.value for entry in weight.external_data}
    assert note["location"] == wire.MARKER
    start, length = int(note["offset"]), int(note["length"])
    full = onnx.ModelProto.FromString(data)
    assert data[start : start + length] == full.graph.initializer[0].raw_data
    assert bias.dims == [300]
    assert light.graph.node == full.graph.node


def test_tensors_in_attributes_and_subgraphs_too() -> None:
    big = onnx.numpy_helper.from_array(np.arange(1000, dtype=np.float32), "t")
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["z"], value=big)], "i", [], []
    )
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], []))
    light = wire.without_weights(memoryview(model.SerializeToString()))
    assert len(light) < 2000


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_a_cut_message_is_malformed_or_shorter_but_never_a_crash(cut: int) -> None:
    data = parsed(linear_text(8, 300)).SerializeToString()
    try:
        wire.without_weights(memoryview(data[: len(data) - cut]))
    except wire.Malformed as error:
        assert "byte" in str(error)


@pytest.mark.parametrize(
    "data", [b"\xff" * 20, b"\x3a\xff\xff\xff\xff\x0f", b"\x0b", b"\x02\x01\x00"]
)
def test_rubbish_is_malformed(data: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.without_weights(memoryview(data))


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**63])
def test_varint_is_what_protobuf_reads(number: int) -> None:
    found = next(
        wire.fields(memoryview(b"\x08" + wire.varint(number)), 0, 1 + len(wire.varint(number)))
    )
    assert found[:2] == (1, 0)
