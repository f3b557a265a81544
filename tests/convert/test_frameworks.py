import ast
import importlib.util
from pathlib import Path

import pytest

from modelkit.convert.frameworks import FRAMEWORKS, convertible, list_formats


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_module_of_the_table_opens_models(name: str) -> None:
    row = FRAMEWORKS[name]
    assert row.name and row.detects
    if not row.module:
        return
    # Read, not imported: TensorFlow and Paddle do not live in one process.
    found = importlib.util.find_spec(row.module)
    assert found is not None and found.origin is not None
    tree = ast.parse(Path(found.origin).read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert [a.arg for a in functions["open_model"].args.args] == ["path", "name", "options"]


def test_a_row_that_needs_a_library_names_its_extra() -> None:
    for row in FRAMEWORKS.values():
        assert bool(row.needs) == bool(row.extra)


def test_convertible_lists_only_rows_with_a_module() -> None:
    assert "TorchScript" in convertible()
    assert "GGUF" not in convertible()


def test_the_list_says_what_is_here() -> None:
    found = {row.name: row for row in list_formats().formats}
    assert len(found) == len(FRAMEWORKS)
    assert found["PyTorch"].library.startswith("torch 2.")
    assert found["scikit-learn (skops)"].library.startswith("scikit-learn 1.")
    assert found["PyTorch"].extra == "torch"
    assert not found["GGUF"].converts and not found["GGUF"].library
    assert found["ONNX"].converts and not found["ONNX"].library
