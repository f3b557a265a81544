import pytest

from tests.harness import floats, rewritten

NAME = "activation_as_rows"
FEEDS = [{"x": floats(n, 8, h, 5)} for n, h in ((1, 1), (2, 3), (0, 2))]


def text(act: str = "Gelu(m)", read: str = "y = Conv(a, k)", norm: str = "") -> str:
    norm = norm or "LayerNormalization(r, w, v)"
    return f"""<ir_version: 10, opset_import: ["": 23, "com.microsoft": 1]>
    g (float[n, 8, h, 5] x) => (float[n, c, i, j] y)
    <float[8] w, float[8] v, float[4, 8, 1, 1] k> {{
      r = Transpose<perm=[0, 2, 3, 1]>(x) z = {norm}
      m = Transpose<perm=[0, 3, 1, 2]>(z) a = {act} {read} }}"""


@pytest.mark.parametrize("act", ["Gelu(m)", "Relu(m)", "com.microsoft.QuickGelu<alpha=1.7>(m)"])
@pytest.mark.parametrize("norm", ["LayerNormalization(r, w, v)", "RMSNormalization(r, w)"])
def test_the_activation_is_computed_on_rows(act: str, norm: str) -> None:
    result = rewritten(text(act, norm=norm), [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert result.operators[-2:] == ["Transpose", "Conv"]


def test_several_readers_are_refused() -> None:
    for read in ("b = Conv(a, k) c = Conv(a, k) y = Add(b, c)", "y = Identity(a)"):
        result = rewritten(text(read=read), [NAME], FEEDS)
        assert result.reason(NAME) == "what reads it is not one convolution"


def test_rows_that_are_not_normalized_are_left() -> None:
    assert not rewritten(text(norm="Exp(r)"), [NAME], FEEDS).counts


def test_a_sum_is_left() -> None:
    assert not rewritten(text("Add(m, m)"), [NAME], FEEDS).counts
