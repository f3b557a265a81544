import numpy as np

from tests.harness import floats, rewritten


def text(
    expanded: str = "[1, 1, 3, 1, 1]", axis: int = 2, order: str = "", heads: str = "[0, 6, -1, 8]"
) -> str:
    return f"""<ir_version: 11, opset_import: ["": 23]>
    g (float[b, 6, s, 8] q, float[b, 2, t, 8] k, float[b, 2, t, 8] v) => (float[b, 6, s, 8] y)
    {{ a = Constant<value_ints=[{axis}]>() e = Constant<value_ints={expanded}>()
      h = Constant<value_ints={heads}>()
      ku = Unsqueeze(k, a) ke = Expand(ku, e) kk = Reshape(ke, h)
      vu = Unsqueeze(v, a) ve = Expand(vu, e) vv = Reshape(ve, h)
      y = Attention(q, kk, vv) }}"""


FEEDS = [
    {"q": floats(b, 6, s, 8), "k": floats(b, 2, t, 8, seed=1), "v": floats(b, 2, t, 8, seed=2)}
    for b, s, t in ((1, 1, 1), (2, 3, 5))
]


def test_repeated_heads_are_read_in_place() -> None:
    result = rewritten(text(), ["attention_groups"], FEEDS)
    assert result.operators == ["Attention"]


def test_heads_repeated_as_a_whole_are_refused() -> None:
    result = rewritten(text("[1, 3, 1, 1, 1]", axis=1), ["attention_groups"], FEEDS)
    assert result.reason("attention_groups") == "its key heads are not repeated one by one"


def test_other_axes_are_refused() -> None:
    feeds = [{**FEEDS[0], "k": floats(1, 2, 1, 8), "v": floats(1, 2, 1, 8)}]
    source = text("[1, 1, 3, 4, 1]").replace("float[b, 2, t, 8]", "float[b, 2, 1, 8]")
    result = rewritten(source, ["attention_groups"], feeds)
    assert result.reason("attention_groups") == "its key is repeated along other axes too"


def test_a_length_the_runtime_finds_out_is_refused() -> None:
    feeds = [{name: np.repeat(value, 2, axis=0) for name, value in FEEDS[0].items()}]
    source = text().replace("float[b, 2, t, 8] k", "float[b, 2, t, 8] k, int64[5] w")
    source = source.replace("Expand(ku, e)", "Expand(ku, w)")
    feeds = [{**feed, "w": np.array([1, 1, 3, 1, 1])} for feed in feeds]
    result = rewritten(source, ["attention_groups"], feeds)
    assert result.reason("attention_groups") in (
        "the shape of its key is unknown",
        "the number of its key heads is unknown",
    )
