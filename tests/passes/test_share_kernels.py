from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from modelkit.model import Model, load, save
from modelkit.optimize.choice import Choice
from modelkit.optimize.levels import rewritten
from modelkit.passes.share_kernels import share_kernels
from tests.models import model_file, run

TEXT = """<ir_version: 10, opset_import: ["": OPSET]>
g (int64[n, s] ids) => (float[n, s, 400] y)
<float[400, 384] w> { t = Transpose<perm=[1,0]>(w) x = Gather(w, ids) y = MatMul(x, t) }"""
FEEDS = [{"ids": np.array(ids, np.int64)} for ids in ([[3]], [[1, 399, 7], [0, 0, 5]])]


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    """A matrix that is looked up and multiplied by, as language models have it."""
    return model_file(tmp_path / "tied.onnx", TEXT.replace("OPSET", "20"))


def kinds(model: Model) -> list[str]:
    return [node.op_type for node in model.graph]


def test_a_matrix_that_is_looked_up_too_is_kept_once(tied: Path, tmp_path: Path) -> None:
    twice = rewritten(load(tied), Choice(skip=("share_kernels",))).model
    assert kinds(twice).count("Conv") == 1
    once = rewritten(load(tied), Choice())
    assert [change.count for change in once.changes if change.name == "share_kernels"] == [1]
    made = save(once.model, tmp_path / "once.onnx")
    both = save(twice, tmp_path / "twice.onnx")
    assert made.stat().st_size < 0.6 * both.stat().st_size
    for feeds in FEEDS:
        before, after = run(tied, feeds)["y"], run(made, feeds)["y"]
        np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_what_was_shared_becomes_the_same_again(tied: Path) -> None:
    once = rewritten(load(tied), Choice()).model
    assert kinds(rewritten(once.clone(), Choice()).model) == kinds(once)


@pytest.mark.parametrize(
    "conv",
    [
        "y = Conv(x, k)",
        "d = Identity(k) z = Conv(x, k) e = Mul(z, d) y = Neg(e)",
    ],
)
def test_only_equal_numbers_with_one_reader_are_shared(conv: str, tmp_path: Path) -> None:
    text = f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[1, 256, 256, 1] x, int64[1] i) => (float[a, b, c, d] y, float[e, f] v)
    <float[256, 256] w, float[256, 256, 1, 1] k> {{ v = Gather(w, i) {conv} }}"""
    model = load(model_file(tmp_path / "m.onnx", text))
    if "Identity" in conv:
        kernel, matrix = (model.graph.initializers[name] for name in "kw")
        assert matrix.const_value is not None
        kernel.const_value = ir.tensor(matrix.const_value.numpy()[..., None, None].copy())
    assert share_kernels(model).count == 0
    assert "Unsqueeze" not in kinds(model)
