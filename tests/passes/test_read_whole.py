import numpy as np
import pytest

from modelkit.model import Model, clone
from modelkit.passes.infer_symbols import infer_symbols
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.read_whole import read_whole
from modelkit.passes.remove_unused import remove_unused
from tests.passes.harness import check, model_of, normal, ops

MASK = """zero = Constant<value_int=0>() one = Constant<value_int=1>()
    last = Constant<value_ints=[-1]>() rest = Constant<value_ints=[1, 2, 3]>()
    front = Constant<value_ints=[0, 1, 2]>()
    nb = Shape<start=0, end=1>(x) ns = Shape<start=1, end=2>(x)
    at = Constant<value_ints=[0]>() b0 = Squeeze(nb, at) s0 = Squeeze(ns, at) rb = Range({start}, b0, {step}) rs = Range(zero, s0, one)
    ub = Unsqueeze(rb, rest) us = Unsqueeze(rs, front)
    ones = Constant<value_ints=[1]>() to = Concat<axis=0>(nb, ones, ones, ns)
    eb = Expand(ub, to) es = Expand(us, to)
    vb = Unsqueeze(eb, last) vs = Unsqueeze(es, last)"""
PAIR = "i = Concat<axis=-1>(vb, vs) y = GatherND(m, i)"


def model(end: str = PAIR, start: str = "zero", step: str = "one", kind: str = "n, s") -> Model:
    return model_of(
        f"""<ir_version: 8, opset_import: ["": 18]>
        g (float[n, s, 4] x, bool[{kind}] m) => (bool y)
        {{ {MASK.format(start=start, step=step)} {end} }}"""
    )


def read(before: Model) -> tuple[Model, int]:
    before.graph.outputs[0].shape = None
    after = clone(before)
    lift_constants(after)
    infer_symbols(after)
    count = read_whole(after).count
    remove_unused(after)
    return after, count


def feeds(*shape: int) -> dict[str, np.ndarray]:
    return {"x": normal(*shape, 4), "m": normal(*shape, seed=1) > 0}


def test_a_mask_read_by_ranges_is_the_mask() -> None:
    before = model()
    after, count = read(before)
    assert count == 1
    assert ops(after) == {"Unsqueeze": 1}
    check(after, feeds(2, 5), feeds(1, 1), feeds(3, 0), before=before)


def test_with_axes_that_stay() -> None:
    before = model(kind="n, s, 3")
    after, count = read(before)
    assert count == 1
    inputs = {"x": normal(2, 5, 4), "m": normal(2, 5, 3) > 0}
    check(after, inputs, before=before)


@pytest.mark.parametrize(
    "before",
    [
        model(PAIR.replace("vb, vs", "vs, vb"), kind="s, n"),  # would be a transpose
        model(PAIR.replace("vb, vs", "vs, vb"), kind="s, s"),  # another length
        model(start="one"),
        model(kind="n, t"),
        model("w = Constant<value_ints=[1, 2, 1, 1, 1]>() v2 = Expand(vb, w) u2 = Expand(vs, w) "
              "i = Concat<axis=-1>(v2, u2) y = GatherND(m, i)"),
        model("i = Concat<axis=0>(vb, vs) y = GatherND(m, i)"),
        model("i = Concat<axis=-1>(vb, vs) y = GatherND<batch_dims=1>(m, i)", kind="n, s, s, s, s"),
    ],
)  # fmt: skip
def test_other_reads_stay(before: Model) -> None:
    assert read(before)[1] == 0
