import json
from pathlib import Path

import pytest

from modelkit.errors import BadInput
from modelkit.runtime.data import read_data
from modelkit.runtime.data.records import lines_of, record_feeds, records_of, text_of
from modelkit.runtime.ports import Port

X = Port("x", "float32", ("n", 3))
NAMED = [Port("age", "float32", ("n", 1)), Port("city", "str", ("n", 1))]


def test_a_table_is_the_features_of_the_only_input(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n1,2.5,3\n4,5,6\n")
    first, second = read_data(tmp_path / "t.csv", [X])
    assert first["x"].tolist() == [[1, 2.5, 3]]
    assert second["x"].dtype.name == "float32"


def test_columns_by_the_names_of_the_inputs(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('city,age\n"New, York",7\n')
    (feeds,) = read_data(tmp_path / "t.csv", NAMED)
    assert feeds["age"].tolist() == [[7]]
    assert feeds["city"].tolist() == [["New, York"]]


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"x": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]})
    parquet.write_table(table, tmp_path / "t.parquet")
    found = list(read_data(tmp_path / "t.parquet", [X]))
    assert found[1]["x"].tolist() == [[4, 5, 6]]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1rubbish")
    with pytest.raises(BadInput, match="is not Parquet"):
        list(records_of(tmp_path / "bad.parquet"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", '{"x": 1}\n{', "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "something else than objects"),
        ("a.csv", "a,b\n1\n", "line 2 has another number"),
        ("a.csv", 'a,b\n"1,2\n', "is not CSV"),
        ("a.json", '{"x"', "is not JSON"),
    ],
)
def test_broken_records_say_where(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=words):
        list(records_of(tmp_path / name))


def test_missing_axes_are_added_in_front() -> None:
    assert record_feeds({"x": [1, 2, 3]}, [X], Path("f"))["x"].shape == (1, 3)
    assert record_feeds({"x": [[1, 2, 3]] * 2}, [X], Path("f"))["x"].shape == (2, 3)


def test_mixed_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="mixes texts"):
        text_of({"x": 1}, tmp_path)
    assert text_of({"text": "a", "text_pair": "b"}, tmp_path) == ("a", "b")
    (tmp_path / "empty.json").write_text("[]")
    with pytest.raises(BadInput, match="no records"):
        list(read_data(tmp_path / "empty.json", [X]))


def test_lines_come_as_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    path.write_text("".join(json.dumps({"x": [i] * 3}) + "\n" for i in range(1000)) + "{")
    stream = read_data(path, [X])
    assert next(stream)["x"].tolist() == [[0, 0, 0]]
    (tmp_path / "t.txt").write_bytes(b"a\n\xff\xfe\n")
    with pytest.raises(BadInput, match="not UTF-8"):
        list(lines_of(tmp_path / "t.txt"))
