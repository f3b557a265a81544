import numpy as np

from modelkit.model import clone
from modelkit.passes.inline_functions import inline_functions
from modelkit.passes.restore_convolutions import restore_convolutions
from modelkit.rewrite.winograd import CONV, DOMAIN
from tests.passes.harness import check, normal, run
from tests.rewrite.test_winograd import written, written_open

FEEDS = {"x": normal(1, 64, 16, 16)}


def test_calls_become_convolutions_again() -> None:
    model = written()
    before = clone(model)
    assert restore_convolutions(model).count == 2
    assert [node.op_type for node in model.graph] == ["Conv", "Abs", "Conv"]
    assert not model.functions
    check(model)
    for old, new in zip(run(before, FEEDS), run(model, FEEDS), strict=True):
        np.testing.assert_allclose(new, old, rtol=0, atol=1e-5 * np.abs(old).max())


def test_what_computed_heights_is_left_to_nobody() -> None:
    model = written_open()
    before = clone(model)
    assert restore_convolutions(model).count == 2
    assert [node.op_type for node in model.graph] == ["Conv", "Conv", "Relu", "Abs", "Conv"]
    check(model)
    feeds = {"x": normal(2, 3, 45, 30)}
    for old, new in zip(run(before, feeds), run(model, feeds), strict=True):
        np.testing.assert_allclose(new, old, rtol=0, atol=1e-5 * np.abs(old).max())


def test_inlining_leaves_them_as_they_are() -> None:
    model = written()
    assert inline_functions(model).count == 0
    assert (DOMAIN, CONV, "") in model.functions


def test_a_function_of_that_name_that_computes_anything_else_is_inlined() -> None:
    model = written()
    function = model.functions[DOMAIN, CONV, ""]
    node = next(node for node in function if node.op_type == "Sub")
    node.op_type = "Add"
    before = clone(model)
    assert restore_convolutions(model).count == 0
    assert inline_functions(model).count == 2
    assert not model.functions
    check(model, FEEDS, before=before, exact=False)
