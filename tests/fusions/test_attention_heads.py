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


def text(attention: str, join: str) -> str:
    return f"""<ir_version: 11, opset_import: ["": 23]>
    g (float[b, s, 24] q, float[b, s, 24] k, float[b, s, 24] v) => (float[b, s, n] y)
    {{ {SPLIT} {attention} {join} }}"""


JOIN = "t = Transpose<perm=[0,2,1,3]>(h) y = Reshape(t, so)"


@pytest.mark.parametrize("scale", ["", "<scale=0.25>"])
def test_split_and_join_go_into_the_operator(scale: str) -> None:
    result = rewritten(text(f"h = Attention{scale}(q4, k4, v4)", JOIN), ["attention_heads"], FEEDS)
    assert result.operators == ["Attention"]
    node = next(iter(result.model.graph))
    assert node.attributes["q_num_heads"].value == 3
    assert node.attributes["kv_num_heads"].value == 3


def test_a_join_to_another_rank_is_refused() -> None:
    source = text("h = Attention(q4, k4, v4)", JOIN).replace("[0, 0, 24]", "[0, 0, 12, 2]")
    source = source.replace("float[b, s, n] y", "float[b, s, n, m] y")
    result = rewritten(source, ["attention_heads"], FEEDS)
    assert result.reason("attention_heads") == "its result does not have three axes"


def test_heads_read_elsewhere_stay() -> None:
    source = text("h = Attention(q4, k4, v4)", JOIN).replace(
        "float[b, s, n] y)", "float[b, s, n] y, float[b, 3, s, 8] h)"
    )
    result = rewritten(source, ["attention_heads"], FEEDS)
    assert result.reason("attention_heads") == "'h' is an output of the graph"
