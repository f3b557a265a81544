import xml.etree.ElementTree as ElementTree

from modelkit.cli.plots import Series, bars, lines_plot
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
