from pathlib import Path

import numpy as np
import pytest

from modelkit.model import save
from modelkit.quantize.block_tables import BlockTables
from modelkit.quantize.blocks import Blocks
from modelkit.quantize.nbits import Nbits
from modelkit.quantize.prepare import prepared
from tests.models import run
from tests.quantize.graphs import model_of

ROWS = 700


def text(width: int, head: str) -> str:
    return f"""(int64[a, b] ids) => (float[a, b, {ROWS}] y) <float[{ROWS}, {width}] table>
    {{ x = Gather(table, ids) t = Transpose<perm=[1, 0]>(table) {head} }}"""


@pytest.mark.parametrize("width", [64, 77])
def test_a_table_that_the_head_multiplies_by_is_kept_once(tmp_path: Path, width: int) -> None:
    model = prepared(model_of(text(width, "y = MatMul(x, t)")), 13)
    before = save(model, tmp_path / "before.onnx")
    nbits, blocks = Nbits(), Blocks(8, 32)
    tables = BlockTables(nbits)
    for node in list(model.graph):
        if node.op_type == "MatMul":
            assert nbits.replace(node, model.graph, blocks, lazy=True) is None
    for node in list(model.graph):
        if node.op_type == "Gather":
            assert tables.shrink(node, model.graph, blocks) is None
    assert (tables.count, tables.shared) == (1, 1)
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        del model.graph.initializers[name]
    after = save(model, tmp_path / "after.onnx")
    assert after.stat().st_size < 0.35 * before.stat().st_size * (2 if width == 77 else 1)
    for shape in ((1, 1), (2, 5), (0, 3)):
        ids = np.random.default_rng(0).integers(0, ROWS, shape)
        expected, actual = (run(path, {"ids": ids})["y"] for path in (before, after))
        assert expected.shape == actual.shape
        assert not actual.size or np.abs(actual - expected).max() < 0.02 * np.abs(expected).max()


def test_another_table_is_shrunk_by_rows(tmp_path: Path) -> None:
    model = model_of(text(64, "y = MatMul(x, w)").replace("table>", "table, float[64, 700] w>"))
    before = save(model, tmp_path / "before.onnx")
    nbits, blocks = Nbits(), Blocks(8, 32)
    tables = BlockTables(nbits)
    for node in list(model.graph):
        if node.op_type == "MatMul":
            assert nbits.replace(node, model.graph, blocks) is None
        elif node.op_type == "Gather":
            assert tables.shrink(node, model.graph, blocks) is None
    assert (tables.count, tables.shared) == (1, 0)
    ids = np.arange(12).reshape(3, 4)
    expected = run(before, {"ids": ids})["y"]
    actual = run(save(model, tmp_path / "after.onnx"), {"ids": ids})["y"]
    assert np.abs(actual - expected).max() < 0.03 * np.abs(expected).max()
