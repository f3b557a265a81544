from tests.harness import floats, rewritten


def text(heads: str = "3") -> str:
    return f"""<ir_version: 11, opset_import: ["": 23]>
    g (float[b, s, {heads}, 8] x, float[b, s, 4] c, float[b, s, 4] n) => (float[b, h, s, 8] y)
    {{ t = Transpose<perm=[0,2,1,3]>(x) y = RotaryEmbedding(t, c, n) }}"""


FEEDS = [
    {"x": floats(b, s, 3, 8), "c": floats(b, s, 4, seed=1), "n": floats(b, s, 4, seed=2)}
    for b, s in ((1, 1), (2, 5))
]


def test_the_transpose_comes_behind() -> None:
    result = rewritten(text(), ["rotary_heads"], FEEDS)
    assert result.operators == ["Reshape", "RotaryEmbedding", "Reshape", "Transpose"]


def test_an_unknown_number_of_heads_is_refused() -> None:
    result = rewritten(text("h"), ["rotary_heads"], FEEDS)
    assert result.reason("rotary_heads") == "its heads are not known"
