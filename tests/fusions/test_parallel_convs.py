from collections.abc import Mapping, Sequence

import pytest

from tests.harness import floats, rewritten

NAME = "parallel_convs"


def weights(*shape: int, seed: int) -> str:
    values = 0.3 * floats(*shape, seed=seed).reshape(-1)
    return f"{{{', '.join(f'{value:.6f}' for value in values)}}}"


def text(
    body: str, kernels: Mapping[str, Sequence[int]], x: str = "n, 4, h, k", y: str = "a, b, c, d"
) -> str:
    consts = [
        f"float[{','.join(map(str, shape))}] {name} = {weights(*shape, seed=seed)}"
        for seed, (name, shape) in enumerate(kernels.items())
    ]
    consts += [f"float[4] {name} = {weights(4, seed=9 + i)}" for i, name in enumerate("bcms")]
    consts.append("float[4] var = {1, 0.5, 2, 0.1}")
    return f"""<ir_version: 9, opset_import: ["": 18]> g (float[{x}] x) => (float[{y}] y)
    <{", ".join(consts)}> {{ {body} }}"""


NORM = "q = BatchNormalization<epsilon=0.001>(x, s, b, m, var)"
LARGE = "p = Conv<pads=[1,1,1,1]>(x, w, b)"
BRANCHES = {
    "3x3 and 1x1": (f"{LARGE} q = Conv(x, v, c) y = Add(p, q)", (4, 4, 3, 3), (4, 4, 1, 1)),
    "1x1 first": (f"{LARGE} q = Conv(x, v) y = Add(q, p)", (4, 4, 3, 3), (4, 4, 1, 1)),
    "5x5 and 3x3": (
        "p = Conv<pads=[2,2,2,2]>(x, w) q = Conv<pads=[1,1,1,1]>(x, v, c) y = Add(p, q)",
        (4, 4, 5, 5), (4, 4, 3, 3),
    ),
    "3x3 and 1x3": (
        f"{LARGE} q = Conv<pads=[0,1,0,1]>(x, v, c) y = Add(p, q)", (4, 4, 3, 3), (4, 4, 1, 3),
    ),
    "apart": (
        "p = Conv<pads=[1,0,0,0]>(x, w) q = Conv<pads=[0,0,1,0]>(x, v) y = Add(p, q)",
        (4, 4, 2, 1), (4, 4, 2, 1),
    ),
    "strides": (
        "p = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w, b) q = Conv<strides=[2,2]>(x, v, c)"
        " y = Add(p, q)", (4, 4, 3, 3), (4, 4, 1, 1),
    ),
    "groups": (
        "p = Conv<pads=[1,1,1,1], group=2>(x, w, b) q = Conv<group=2>(x, v, c) y = Add(p, q)",
        (4, 2, 3, 3), (4, 2, 1, 1),
    ),
    "of one size": (f"{LARGE} q = Conv<pads=[1,1,1,1]>(x, v) y = Add(p, q)", (4, 4, 3, 3),
                    (4, 4, 3, 3)),
    "a norm": (f"{LARGE} {NORM} y = Add(p, q)", (4, 4, 3, 3), (1,)),
    "a norm beside groups": (
        f"p = Conv<pads=[1,1,1,1], group=2>(x, w) {NORM} y = Add(q, p)", (4, 2, 3, 3), (1,),
    ),
    "a norm beside channels": (
        f"p = Conv<pads=[1,1,1,1], group=4>(x, w) {NORM} y = Add(q, p)", (4, 1, 3, 3), (1,),
    ),
    "itself": (f"{LARGE} y = Add(x, p)", (4, 4, 3, 3), (1,)),
    "itself at pixels": ("p = Conv(x, w) y = Add(p, x)", (4, 4, 1, 1), (1,)),
    "dilated pixels": (f"{LARGE} q = Conv<dilations=[2,2]>(x, v) y = Add(p, q)", (4, 4, 3, 3),
                       (4, 4, 1, 1)),
}  # fmt: skip
FEEDS = [{"x": floats(n, 4, h, k)} for n, h, k in ((1, 5, 5), (2, 3, 8), (0, 4, 4))]


@pytest.mark.parametrize("case", BRANCHES.values(), ids=BRANCHES.keys())
def test_branches_become_one_convolution(case: tuple[str, Sequence[int], Sequence[int]]) -> None:
    body, first, second = case
    result = rewritten(text(body, {"w": first, "v": second}), [NAME], FEEDS)
    assert result.operators == ["Conv"]


def test_all_branches_of_a_layer_are_merged() -> None:
    body = f"{LARGE} o = Conv(x, v, c) {NORM} l = Add(p, o) r = Add(l, q) y = Add(r, x)"
    result = rewritten(text(body, {"w": (4, 4, 3, 3), "v": (4, 4, 1, 1)}), [NAME], FEEDS)
    assert (result.operators, result.counts) == (["Conv"], {NAME: 3})


@pytest.mark.parametrize(
    ("axes", "ones", "shape"),
    [("1,1", (1,), (2, 4, 7)), ("1,1,1,1,1,1", (1,) * 3, (2, 4, 3, 4, 5))],
)
def test_sequences_and_volumes(axes: str, ones: tuple[int, ...], shape: tuple[int, ...]) -> None:
    kernels = {"w": (4, 4, *(3 * one for one in ones)), "v": (4, 4, *ones)}
    body = f"p = Conv<pads=[{axes}]>(x, w, b) q = Conv(x, v) y = Add(p, q)"
    source = text(body, kernels, ",".join("n4hkl"[: len(shape)]), ",".join("acdef"[: len(shape)]))
    assert rewritten(source, [NAME], [{"x": floats(*shape)}]).operators == ["Conv"]


@pytest.mark.parametrize(
    ("body", "second", "reason"),
    [
        (f"{LARGE} q = Conv<dilations=[2,2], pads=[2,2,2,2]>(x, v) y = Add(p, q)", (4, 4, 3, 3),
         "it is dilated"),
        ("p = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w) a = Conv<pads=[0,0,0,0]>(x, v)"
         " q = Slice(a, zero, one, sides) z = Slice(p, zero, one, sides) y = Add(z, q)",
         (4, 4, 1, 1), ""),
        ("p = Conv<auto_pad=\"SAME_UPPER\">(x, w) q = Conv(x, v) y = Add(p, q)", (4, 4, 1, 1),
         "its padding is not written out"),
        ("p = Conv<pads=[1,1,0,0]>(x, w) q = Conv<pads=[0,0,1,1]>(x, v) y = Add(p, q)",
         (4, 4, 3, 3), None),
        ("t = Identity(v) p = Conv<pads=[1,1,1,1]>(x, w) q = Conv(x, t) y = Add(p, q)",
         (4, 4, 1, 1), "its second weight is not a constant"),
        (f"{LARGE} e = Exp(x) q = Conv(e, v) y = Add(p, q)", (4, 4, 1, 1), ""),
        (f"{LARGE} q = Conv(x, v) r = Add(p, q) e = Exp(q) y = Add(r, e)", (4, 4, 1, 1),
         "'q' is read elsewhere too"),
    ],
    ids=["dilated", "cut", "automatic", "wider", "no constant", "another map", "read twice"],
)  # fmt: skip
def test_others_stay(body: str, second: Sequence[int], reason: str | None) -> None:
    source = text(body, {"w": (4, 4, 3, 3), "v": second}).replace(
        "float[4] var", "int64[2] zero = {0, 0}, int64[2] one = {1, 1}, int64[2] sides = {2, 3},"
        " float[4] var",
    )  # fmt: skip
    result = rewritten(source, [NAME], [{"x": floats(2, 4, 6, 6)}])
    if reason is None:  # 4x4 holds less than twice 3x3
        assert result.counts == {NAME: 1}
    else:
        assert (result.counts, result.reason(NAME)) == ({}, reason)


def test_a_cross_stays() -> None:
    body = "p = Conv<pads=[1,0,1,0]>(x, w) q = Conv<pads=[0,1,0,1]>(x, v) y = Add(p, q)"
    result = rewritten(text(body, {"w": (4, 4, 3, 1), "v": (4, 4, 1, 3)}), [NAME], FEEDS)
    assert result.reason(NAME) == "one kernel would hold more than both"


def test_a_map_of_other_channels_stays() -> None:
    body = "p = Conv(x, w, b) y = Add(p, x)"
    source = text(body, {"w": (4, 1, 1, 1)}, x="n, 1, h, k")
    result = rewritten(source, [NAME], [{"x": floats(2, 1, 3, 3)}])
    assert result.reason(NAME) == "its channels do not stay as many"


def test_a_normalization_in_training_stays() -> None:
    norm = "q, mm, vv = BatchNormalization<training_mode=1>(x, s, b, m, var)"
    result = rewritten(text(f"{LARGE} {norm} y = Add(p, q)", {"w": (4, 4, 3, 3)}), [NAME], [])
    assert result.counts == {}
