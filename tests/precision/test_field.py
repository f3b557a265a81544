"""Cases that users of other converters reported, at smaller size: size, types kept, values right."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.precision import fp16_file
from tests.models import model_file, run

FLOAT = onnx.TensorProto.FLOAT


def export(network: object, inputs: tuple, path: Path, names: list[str], axes: dict) -> Path:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, inputs, str(path), dynamo=False, opset_version=17,
            input_names=names, output_names=["out"], dynamic_axes=axes,
        )  # fmt: skip
    return path


def halved(source: Path) -> onnx.ModelProto:
    """The result, checked, with the types of inputs and outputs kept, and half the size."""
    report = fp16_file(str(source), measure=False)
    assert report.verification.passed
    assert report.result.bytes <= 0.51 * report.source.bytes
    before, after = onnx.load(source), onnx.load(report.written)
    onnx.checker.check_model(after, full_check=True)
    for one, other in zip(
        (*before.graph.input, *before.graph.output), (*after.graph.input, *after.graph.output),
        strict=True,
    ):  # fmt: skip
        assert (one.name, one.type) == (other.name, other.type)
    return after


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=2000, hidden_size=256, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=1024, attn_implementation="eager",
    )  # fmt: skip
    inner = transformers.BertModel(config, add_pooling_layer=False).eval()

    class Encoder(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, input_ids: object, attention_mask: object) -> object:
            return self.inner(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.randint(0, 2000, (2, 9))
    axes = {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask")}
    path = tmp_path_factory.mktemp("bert") / "bert.onnx"
    return export(Encoder(), (ids, torch.ones_like(ids)), path, list(axes), axes)


def test_bert_halves_and_its_padded_rows_stay_finite(bert: Path) -> None:
    """The mask of lowest floats is what makes other converters' BERT give NaN on GPUs."""
    model = halved(bert)
    kinds = {tensor.data_type for tensor in model.graph.initializer if np.prod(tensor.dims) > 64}
    assert kinds - {onnx.TensorProto.INT64} == {onnx.TensorProto.FLOAT16}
    mask = np.array([[1] * 5 + [0] * 4, [0] * 9])
    feeds = {"input_ids": np.arange(18).reshape(2, 9), "attention_mask": mask}
    assert np.isfinite(run(model, feeds)["out"]).all()


def test_bert_in_bfloat16(bert: Path) -> None:
    report = fp16_file(str(bert), step="bf16", measure=False)
    assert report.verification.passed and report.result.bytes <= 0.51 * report.source.bytes


def test_a_clip_vision_tower_keeps_its_inputs_and_outputs(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=256, intermediate_size=1024, num_hidden_layers=2, num_attention_heads=4,
        image_size=32, patch_size=8, projection_dim=64, attn_implementation="eager",
    )  # fmt: skip
    inner = transformers.CLIPVisionModelWithProjection(config).eval()

    class Tower(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, pixel_values: object) -> object:
            return self.inner(pixel_values=pixel_values).image_embeds

    pixels = torch.randn(2, 3, 32, 32)
    axes = {"pixel_values": {0: "batch"}}
    model = halved(export(Tower(), (pixels,), tmp_path / "clip.onnx", list(axes), axes))
    assert model.graph.input[0].type.tensor_type.elem_type == FLOAT
    assert model.graph.output[0].type.tensor_type.elem_type == FLOAT


VGG = """<ir_version: 8, opset_import: ["": 15]>
keras (float[n, 32, 32, 3] image) => (float[n, 10] scores)
<float[32, 3, 3, 3] k1, float[32] b1, float[32, 32, 3, 3] k2, float[32] b2, float[64, 32, 3, 3] k3,
 float[64] b3, float[4096, 128] d1, float[128] c1, float[128, 10] d2, float[10] c2,
 int64[2] flat = {-1, 4096}, float scale = {0.05}>
{
  nchw = Transpose<perm = [0, 3, 1, 2]>(image)
  x1 = Conv<pads = [1, 1, 1, 1]>(nchw, k1, b1) r1 = Relu(x1)
  s1 = Mul(r1, scale)
  x2 = Conv<pads = [1, 1, 1, 1]>(s1, k2, b2) r2 = Relu(x2)
  p1 = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r2) s2 = Mul(p1, scale)
  x3 = Conv<pads = [1, 1, 1, 1]>(s2, k3, b3) r3 = Relu(x3)
  p2 = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r3)
  nhwc = Transpose<perm = [0, 2, 3, 1]>(p2)
  row = Reshape(nhwc, flat)
  m1 = MatMul(row, d1) a1 = Add(m1, c1) h1 = Relu(a1) h2 = Mul(h1, scale)
  m2 = MatMul(h2, d2) a2 = Add(m2, c2) q = Mul(a2, scale) scores = Softmax(q)
}"""


def test_a_keras_vgg_as_tf2onnx_writes_it_halves(tmp_path: Path) -> None:
    model = halved(model_file(tmp_path / "vgg.onnx", VGG))
    assert [node.op_type for node in model.graph.node].count("Cast") == 2
