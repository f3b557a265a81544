from pathlib import Path

import pytest

from modelkit.cli.page import check_page, escaped, page, write_page
from modelkit.errors import CannotWrite
from modelkit.reports import BenchPoint, BenchReport, BenchRow, Interval

EVIL = '<script src="//evil.example/x.js">\x1b[2J"\' onload=alert(1)</script>'


def row(name: str, speed: float) -> BenchRow:
    interval = Interval(speed, speed * 0.9, speed * 1.1)
    return BenchRow(name, "cpu", 1, 1, 1, 1, 1, 1, interval, 9, 2, 3, 4)


def report() -> BenchReport:
    points = tuple(
        BenchPoint({"batch": n}, {EVIL: [n]}, n, (row(EVIL, 1), row("b", n))) for n in (1, 8, 32)
    )
    return BenchReport(EVIL, "1.31", 1, points, (EVIL,))


def test_names_of_a_model_are_only_text() -> None:
    text = page(report())
    assert "<script" not in text
    assert "\x1b" not in text
    assert "evil.example" in text  # shown, and harmless
    assert 'src="' not in text.replace("&quot;", "")
    assert "default-src 'none'" in text
    assert "http://" not in text
    assert "https://" not in text


def test_tables_and_plots_are_there() -> None:
    text = page(report())
    assert text.count("<svg") == 2
    assert "speed-up against batch" in text
    assert text.count("<table>") == 3
    assert "1.00x (0.90-1.10)" in text


def test_the_page_replaces_pages_only(tmp_path: Path) -> None:
    place = tmp_path / "r.html"
    check_page(place)
    write_page(report(), place)
    check_page(place)
    write_page(report(), place)
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    place.write_text("mine")
    with pytest.raises(CannotWrite, match="no report of modelkit"):
        check_page(place)
    for bad in (tmp_path, tmp_path / "no" / "r.html"):
        with pytest.raises(CannotWrite, match="cannot write"):
            check_page(bad)


def test_escaping() -> None:
    assert escaped("<a href='x'>&\x00") == r"&lt;a href=&#x27;x&#x27;&gt;&amp;\x00"
