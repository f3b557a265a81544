import re
import xml.etree.ElementTree as ElementTree

from modelkit.cli.plots import Series, Spot, bars, lines_plot, scatter
from modelkit.reports import Interval


def svg(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text[text.index("<svg") :])


def test_bars_are_to_scale() -> None:
    rows = [("one", Interval(1, 0.9, 1.1)), ("two <&>", Interval(2, 1.9, 2.1))]
    first, second = (float(r.attrib["width"]) for r in svg(bars("t", rows)).iter("rect"))
    assert 1.95 < second / first < 2.05


def test_lines_through_every_point() -> None:
    low, high = Interval(0.8, 0.7, 0.9), Interval(1.6, 1.5, 1.7)
    picture = svg(lines_plot("t", "batch", [Series("a", [(32, high), (1, low)])]))
    (line,) = picture.iter("polyline")
    (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in line.attrib["points"].split())
    assert x1 < x2
    assert y1 > y2
    assert {"1", "32", "1x", "batch"} <= {text.text for text in picture.iter("text")}


def test_one_point_and_one_value() -> None:
    svg(lines_plot("t", "n", [Series("a", [(1, Interval(1, 1, 1))])]))
    svg(bars("t", [("only", Interval(1, 1, 1))]))


def test_spots_lie_inside_and_names_are_harmless() -> None:
    spots = [Spot("<b>", 1.0, 20.0), Spot("fast", 3.0, 18.0, marked=True), Spot("slow", 0.5, 40.0)]
    text = scatter("closeness", "speed", "dB", spots)
    assert "<b>" not in text
    assert "&lt;b&gt;" in text
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"[^>]*fill="(\S+)"', text)
    assert len(circles) == 3
    xs = [float(x) for x, _, _ in circles]
    assert xs[2] < xs[0] < xs[1]
    ys = [float(y) for _, y, _ in circles]
    assert ys[2] < ys[0] < ys[1]  # up is more
    assert [fill == "none" for _, _, fill in circles] == [True, False, True]
    assert scatter("one", "speed", "dB", spots[:1]).count("<circle") == 1
