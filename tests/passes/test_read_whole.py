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


def written(places: str, kind: str = "n, s") -> Model:
    """``x`` with all its places, or some, overwritten by ``-x``."""
    columns = "e4 = Expand(four, whole) v4 = Unsqueeze(e4, last)" if "v4" in places else ""
    return model_of(
        f"""<ir_version: 8, opset_import: ["": 18]> g (float[{kind}] x) => (float y)
        {{ zero = Constant<value_int=0>() one = Constant<value_int=1>()
        last = Constant<value_ints=[-1]>() at = Constant<value_ints=[0]>()
        whole = Shape(x) nb = Shape<start=0, end=1>(x) ns = Shape<start=1, end=2>(x)
        b0 = Squeeze(nb, at) s0 = Squeeze(ns, at) rb = Range(zero, b0, one)
        rs = Range(zero, s0, one) tall = Constant<value_ints=[-1, 1]>() ub = Reshape(rb, tall)
        nil = Constant<value_ints=[0]>() four = Constant<value_ints=[0, 1, 2, 3]>()
        eb = Expand(ub, whole) es = Expand(rs, whole) e0 = Expand(nil, whole)
        vb = Unsqueeze(eb, last) vs = Unsqueeze(es, last) v0 = Unsqueeze(e0, last)
        {columns} i = Concat<axis=-1>({places}) u = Neg(x)
        y = ScatterND(x, i, u) }}"""
    )


@pytest.mark.parametrize(
    ("places", "kind", "shape"),
    [("vb, vs", "n, s", (2, 5)), ("vb, v4", "n, 4", (3, 4)), ("vb, v0", "n, 1", (3, 1))],
)
def test_what_is_written_everywhere_is_the_result(
    places: str, kind: str, shape: tuple[int, ...]
) -> None:
    before = written(places, kind)
    after, count = read(before)
    assert count == 1
    assert ops(after) == {"Neg": 1}
    check(after, {"x": normal(*shape)}, before=before)


@pytest.mark.parametrize(
    "before",
    [
        written("vb, v0", "n, 2"),  # one column of two
        written("vb, v4", "n, 5"),
        written("vs, vb", "n, n"),  # transposed
    ],
)
def test_what_is_written_elsewhere_stays(before: Model) -> None:
    assert read(before)[1] == 0


def test_a_gather_from_the_flattened_mask_is_the_mask() -> None:
    """What the older exporter writes for ``mask[batch, token]``."""
    for flat in ("f = Flatten<axis=2>(m)", "f = Reshape(m, minus)", "f = Reshape(m, column)"):
        before = model(f"{LINEAR} {flat} y = Gather(f, i)")
        after, count = read(before)
        assert count == 1
        assert ops(after) == {"Unsqueeze": 1}
        check(after, feeds(2, 5), feeds(1, 1), feeds(4, 1), before=before)


LINEAR = """minus = Constant<value_ints=[-1]>() column = Constant<value_ints=[-1, 1]>()
    part = Mul(ub, ns) i = Add(us, part)"""


@pytest.mark.parametrize(
    ("end", "start"),
    [
        ("f = Reshape(m, minus) y = Gather(f, i)", "one"),
        ("f = Reshape(m, minus) j = Add(i, i) y = Gather(f, j)", "zero"),
        ("f = Reshape(m, minus) p = Mul(us, nb) j = Add(ub, p) y = Gather(f, j)", "zero"),
        ("t = Transpose(m) f = Reshape(t, minus) y = Gather(f, i)", "zero"),
    ],
)
def test_a_gather_of_other_places_stays(end: str, start: str) -> None:
    assert read(model(f"{LINEAR} {end}", start))[1] == 0
