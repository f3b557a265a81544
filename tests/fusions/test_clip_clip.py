from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, 5, seed=n) * 4} for n in (1, 3, 0)]


def text(body: str) -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 5] x) => (float[n, 5] y)
    <float z = {{0}}, float a = {{-1}}, float s = {{6}}, float t = {{2}}> {{ {body} }}"""


def test_the_narrower_limits_are_left() -> None:
    assert rewritten(
        text("r = Clip(x, a, s) y = Clip(r, z, t)"), ["clip_clip"], FEEDS
    ).operators == ["Clip"]
    assert rewritten(
        text("r = Clip(x, z, s) y = Clip(r, a, t)"), ["clip_clip"], FEEDS
    ).operators == ["Clip"]


def test_ranges_that_do_not_meet_are_refused() -> None:
    result = rewritten(text("r = Clip(x, t, s) y = Clip(r, a, z)"), ["clip_clip"], FEEDS)
    assert result.reason("clip_clip") == "their ranges do not meet"
