from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from modelkit.convert import heads
from modelkit.convert.draft import Draft
from tests.models import run


def result(build: Callable[[Draft, str], str], rows: list[list[float]], kind: str) -> np.ndarray:
    draft = Draft()
    x = draft.input("x", "float32", ["batch", len(rows[0])])
    draft.output(build(draft, x), "y", kind, ["batch"])
    return run(ir.to_proto(draft.model("test")), {"x": np.array(rows, np.float32)})["y"]


def test_labels_are_the_first_of_the_largest() -> None:
    rows = [[1.0, 3.0, 3.0], [5.0, 0.0, 1.0]]
    assert result(lambda d, x: heads.label(d, x, [0, 1, 2]), rows, "int64").tolist() == [1, 0]
    assert result(lambda d, x: heads.label(d, x, [4, 7, 9]), rows, "int64").tolist() == [7, 4]
    words = result(lambda d, x: heads.label(d, x, ["a", "b", "c"]), rows, "str")
    assert words.tolist() == ["b", "a"]


def test_two_classes_by_one_score() -> None:
    rows = [[0.0], [-1.0], [2.0]]
    above = result(lambda d, x: heads.label_above(d, x, 0.0, np.float32), rows, "int64")
    assert above.tolist() == [1, 0, 1]
    columns = result(
        lambda d, x: heads.two_columns(d, heads.sigmoid(d, x, 2.0, np.float32), np.float32),
        rows,
        "float32",
    )
    positive = 1 / (1 + np.exp(-2 * np.array(rows)))
    np.testing.assert_allclose(columns, np.hstack([1 - positive, positive]), atol=1e-6)


def test_softmax_is_over_the_classes() -> None:
    found = result(heads.softmax, [[0.0, np.log(3)]], "float32")
    np.testing.assert_allclose(found, [[0.25, 0.75]], atol=1e-6)
