import numpy as np
import pytest

from tests.harness import rewritten
from tests.models import Feeds

NAME = "embed_layer_normalization"
CASES = ((1, 1), (2, 5), (3, 4))


def text(body: str, ids: str = "int64", tables: str = "float[16, 8] p") -> str:
    return f"""<ir_version: 10, opset_import: ["": 18, "com.microsoft": 1]>
    g ({ids}[n, s] i, int64[n, s] k, int64[1, s] o) => (float[n, s, 8] y)
    <float[20, 8] w, {tables}, float[2, 8] e, float[8] c, float[8] d> {{
    a = Gather(w, i) b = Gather(p, o) {body}
    y = LayerNormalization<axis=-1, epsilon=0.001>(t, c, d) }}"""


def feeds(ids: type = np.int64) -> list[Feeds]:
    random = np.random.default_rng(0)
    return [
        {
            "i": random.integers(0, 20, (n, s)).astype(ids),
            "k": random.integers(0, 2, (n, s)),
            "o": np.arange(s)[None],
        }
        for n, s in CASES
    ]


@pytest.mark.parametrize(
    "total",
    [
        "f = Gather(e, k) u = Add(a, f) t = Add(u, b)",
        "f = Gather(e, k) u = Add(a, b) t = Add(f, u)",
        "f = Gather(e, k) u = Add(b, f) t = Add(a, u)",
        "t = Add(a, b)",
    ],
)
def test_lookups_sums_and_normalization_become_one(total: str) -> None:
    result = rewritten(text(total), [NAME], feeds())
    assert [name for name in result.operators if name != "Cast"] == ["EmbedLayerNormalization"]


def test_narrow_indices_need_no_cast() -> None:
    result = rewritten(text("t = Add(a, b)", ids="int32"), [NAME], feeds(np.int32))
    assert result.operators == ["Cast", "EmbedLayerNormalization"]


def test_more_positions_than_rows_are_refused() -> None:
    source = text("t = Add(a, b)", tables="float[3, 8] p").replace(", s]", ", 5]")
    result = rewritten(source.replace("[n, s, 8]", "[n, 5, 8]"), [NAME], [])
    assert result.reason(NAME) == "there are more positions than rows in their table"


def test_a_lookup_along_the_other_axis_is_refused() -> None:
    source = text("t = Add(a, b)").replace("Gather(p, o)", "Gather<axis=1>(p, o)")
    result = rewritten(source, [NAME], [])
    assert result.reason(NAME) == "a lookup is not along the first axis"
