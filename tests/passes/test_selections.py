import onnx_ir as ir
import pytest

from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.selections import Selection, narrowed, selection_of
from tests.passes.harness import model_of

SLICE = "b = Constant<value_ints=[{}]>() e = Constant<value_ints=[{}]>() " \
    "o = Constant<value_ints=[1]>() c = Slice(h, b, e, o) y = Neg(c)"  # fmt: skip


def found(rest: str, inputs: str = "int64 i", shape: str = "n, s, 4", opset: int = 18) -> (
    Selection | None
):  # fmt: skip
    model = model_of(
        f"""<ir_version: 8, opset_import: ["": {opset}]>
        g (float[{shape}] x, {inputs}) => (float y) {{ h = Neg(x) {rest} }}"""
    )
    model.graph.outputs[0].shape = None
    lift_constants(model)
    infer_symbols(model)
    nodes = [node for node in model.graph if node.op_type != "Neg"]
    return selection_of((nodes or list(model.graph))[-1], opset)


@pytest.mark.parametrize(
    ("rest", "axes", "keeps"),
    [
        ("y = Gather<axis=1>(h, i)", (1,), False),
        ("y = Gather<axis=-1>(h, i)", (2,), False),
        ("c = Constant<value_ints=[3]>() y = Gather<axis=1>(h, c)", (1,), True),
        (SLICE.format(-1, 9223372036854775807), (1,), True),
        (SLICE.format(0, 1), (1,), True),
        (SLICE.format(-3, -1), (1,), True),
    ],
)
def test_few_places(rest: str, axes: tuple[int, ...], keeps: bool) -> None:
    selection = found(rest)
    assert selection is not None
    assert (selection.axes, selection.keeps_rank) == (axes, keeps)


@pytest.mark.parametrize(
    "rest",
    [
        "c = Constant<value_ints=[3, 1]>() y = Gather<axis=1>(h, c)",  # of s, which may be 1
        SLICE.format(1, 9223372036854775807),
        SLICE.format(0, -1),
        SLICE.format(0, 100),
        "y = GatherElements<axis=1>(h, i)",
        "y = Neg(h)",
    ],
)
def test_what_may_be_many(rest: str) -> None:
    assert found(rest) is None


def test_lengths_that_are_known_count() -> None:
    assert found(SLICE.format(0, 100), shape="n, 197, 4") is None
    assert found(SLICE.format(0, 90), shape="n, 197, 4") is not None
    assert found("y = Gather<axis=1>(h, i)", shape="n, 1, 4") is None


@pytest.mark.parametrize(("index", "opset"), [("m, 2", 18), ("n, 1", 18), ("n, 2", 12)])
def test_rows_that_are_not_one_for_each_of_the_batch(index: str, opset: int) -> None:
    assert found("y = GatherND(h, i)", f"int64[{index}] i", opset=opset) is None
    assert found("y = GatherND(h, i)", "int64[n, 2] i") is not None


def test_a_flattened_batch_that_others_read() -> None:
    rows = "f = Flatten<axis=2>(h) {} y = Gather<axis=0>(f, i)"
    selection = found(rows.format(""), "int64[n] i")
    assert selection is not None
    assert selection.reader.op_type == "Flatten"
    assert found(rows.format("g = Neg(f)"), "int64[n] i") is None
    assert found(rows.format(""), "int64[m] i") is None


def test_the_same_places_have_equal_keys() -> None:
    one, two = (found("c = Constant<value_int=0>() y = Gather<axis=1>(h, c)") for _ in "ab")
    other = found("c = Constant<value_int=1>() y = Gather<axis=1>(h, c)")
    longer = found("c = Constant<value_int=0>() y = Gather<axis=1>(h, c)", shape="n, t, 4")
    assert one is not None and two is not None and other is not None and longer is not None
    assert one.key == two.key
    assert one.key not in (other.key, longer.key)


def test_axes_of_unknown_length_are_not_the_same() -> None:
    model = model_of(
        """<ir_version: 8, opset_import: ["": 18]>
        g (float[n, s, 4] x, int64 i) => (float[n, 4] y, float[n, 4] z)
        { h = Neg(x) k = Abs(x) y = Gather<axis=1>(h, i) z = Gather<axis=1>(k, i) }"""
    )
    keys = []
    for node in model.graph:
        if node.op_type != "Gather":
            node.outputs[0].shape = ir.Shape(["n", None, 4])
            continue
        selection = selection_of(node, 18)
        assert selection is not None
        keys.append(selection.key)
    assert keys[0] != keys[1]


def test_narrowed_dims() -> None:
    assert narrowed(ir.Shape(["n", 7, 4]), (1,), (1,))[1:] == [1, 4]
