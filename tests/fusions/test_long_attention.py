import pytest

from tests.fusions.test_multi_head_attention import HEADS
from tests.harness import floats, rewritten
from tests.models import Feeds

NAME = "long_attention"


def text(said: str = "", queries: object = 1030, keys: object = 1024, mask: str = "") -> str:
    shapes = f"float[b, {queries}, 16] x, float[b, {keys}, 16] k, float[b, {keys}, 16] v"
    inputs = f"{shapes}, float[{queries}, {keys}] m" if mask else shapes
    return f"""<ir_version: 10, opset_import: ["": 23, "com.microsoft": 1]>
    g ({inputs}) => (float[b, {queries}, 16] y) {{
    q = Neg(x) y = Attention<{HEADS}{said}>(q, k, v{mask}) }}"""


def feeds(queries: int, keys: int) -> list[Feeds]:
    return [
        {"x": floats(b, queries, 16), "k": floats(b, keys, 16, seed=1), "v": floats(b, keys, 16)}
        for b in (1, 3)
    ]


@pytest.mark.parametrize(("queries", "keys"), [(1024, 1024), (1030, 1024), (1500, 1500)])
@pytest.mark.parametrize("said", ["", ", scale=0.3"])
def test_long_heads_without_a_mask(said: str, queries: int, keys: int) -> None:
    result = rewritten(text(said, queries, keys), [NAME], feeds(queries, keys))
    assert result.operators == ["Neg", "MultiHeadAttention"]


def test_half_precision_is_refused() -> None:
    source = text().replace("float[b", "float16[b")
    assert rewritten(source, [NAME], []).reason(NAME) == "it is not in float32"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(keys=1023), "it is not known to have 1024 queries and keys"),
        (text(queries="s"), "it is not known to have 1024 queries and keys"),
        (text(said=", is_causal=1"), "it is causal, which is not computed in tiles"),
        (text(said=", softcap=2.0"), "it bounds or gives out its scores"),
        (
            text(said=", kv_num_heads=2").replace("kv_num_heads=4, ", ""),
            "its queries and keys do not have the same number of heads",
        ),
    ],
)
def test_what_the_operator_does_otherwise_is_refused(source: str, reason: str) -> None:
    source = source.replace("kv_num_heads=4, kv_num_heads=2", "kv_num_heads=2")
    assert rewritten(source, [NAME], []).reason(NAME) == reason


def test_a_mask_keeps_it_as_it_is() -> None:
    assert rewritten(text(mask=", m"), [NAME], []).operators == ["Neg", "Attention"]
