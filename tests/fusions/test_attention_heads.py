import pytest

from tests.harness import floats, rewritten

SPLIT = """sh = Constant<value_ints=[0, 0, 3, 8]>() so = Constant<value_ints=[0, 0, 24]>()
    q1 = Reshape(q, sh) q4 = Transpose<perm=[0,2,1,3]>(q1)
    k1 = Reshape(k, sh) k4 = Transpose<perm=[0,2,1,3]>(k1)
    v1 = Reshape(v, sh) v4 = Transpose<perm=[0,2,1,3]>(v1)"""
FEEDS = [
    {name: floats(batch, length, 24, seed=seed) for seed, name in enumerate("qkv")}
    for batch, length in ((1, 1), (2, 5))
]
JOIN = "t = Transpose<perm=[0,2,1,3]>(h) y = Reshape(t, so)"


def text(attention: str, join: str = JOIN, also: str = "", out: str = "") -> str:
    return f"""<ir_version: 11, opset_import: ["": 23]>
    g (float[b, s, 24] q, float[b, s, 24] k, float[b, s, 24] v{also}) => (float[b, s, n] y{out})
    {{ {SPLIT} {attention} {join} }}"""


@pytest.mark.parametrize("scale", ["", "<scale=0.25>"])
def test_split_and_join_go_into_the_operator(scale: str) -> None:
    result = rewritten(text(f"h = Attention{scale}(q4, k4, v4)"), ["attention_heads"], FEEDS)
    assert "Transpose" not in result.operators
    node = next(node for node in result.model.graph if node.op_type == "Attention")
    assert node.attributes["q_num_heads"].value == 3
    assert node.attributes["kv_num_heads"].value == 3


def test_a_mask_and_caches_stay() -> None:
    also = ", float[b, 1, s, z] m, float[b, 3, p, 8] pk, float[b, 3, p, 8] pv"
    source = text(
        "h, keys, values = Attention(q4, k4, v4, m, pk, pv)",
        also=also,
        out=", float[b, 3, z, 8] keys, float[b, 3, z, 8] values",
    )
    feeds = [
        {
            **{name: floats(batch, length, 24, seed=seed) for seed, name in enumerate("qkv")},
            "m": floats(batch, 1, length, past + length),
            "pk": floats(batch, 3, past, 8, seed=7),
            "pv": floats(batch, 3, past, 8, seed=8),
        }
        for batch, length, past in ((1, 1, 4), (2, 3, 0), (2, 3, 5))
    ]
    result = rewritten(source, ["attention_heads"], feeds)
    assert result.counts == {"attention_heads": 1}
    assert "Transpose" not in result.operators


def test_heads_that_others_read_too_are_left_to_them() -> None:
    source = text("h = Attention(q4, k4, v4)", out=", float[b, 3, s, 8] k4")
    result = rewritten(source, ["attention_heads"], FEEDS)
    assert result.operators.count("Transpose") == 1


def test_a_result_read_as_heads_is_refused() -> None:
    source = text("h = Attention(q4, k4, v4)", out=", float[b, 3, s, 8] h")
    result = rewritten(source, ["attention_heads"], FEEDS)
    assert result.reason("attention_heads") == "'h' is an output of the graph"


def test_an_unknown_number_of_heads_is_refused() -> None:
    source = """<ir_version: 11, opset_import: ["": 23]>
    g (float[b, s, h, 8] q) => (float[b, s, h, 8] y)
    { t = Transpose<perm=[0,2,1,3]>(q) a = Attention(t, t, t) y = Transpose<perm=[0,2,1,3]>(a) }"""
    result = rewritten(source, ["attention_heads"], [{"q": floats(2, 5, 3, 8)}])
    assert result.reason("attention_heads") == "the heads of its query are not known"
