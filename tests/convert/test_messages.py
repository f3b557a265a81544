from pathlib import Path

from modelkit.convert.messages import begins_like_onnx, in_message, outline
from tests.models import linear_text, parsed


def test_outline_notes_the_first_place_of_each_field() -> None:
    data = memoryview(b"\x08\x07\x12\x02ab\x12\x01c")
    message = outline(data, 0, len(data))
    assert message.fields == {(1, 0): (1, 2), (2, 2): (4, 6)}
    assert message.whole


def test_outline_keeps_what_came_before_a_cut() -> None:
    data = memoryview(b"\x08\x07\x12\x7fab")
    message = outline(data, 0, len(data))
    assert message.fields == {(1, 0): (1, 2)}
    assert not message.whole


def test_a_cut_onnx_file_still_begins_like_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(parsed(linear_text(30, 20)).SerializeToString()[:-5])
    assert in_message(path) is None
    assert begins_like_onnx(path)


def test_text_is_no_message(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("some words and nothing else")
    assert in_message(path) is None
    assert not begins_like_onnx(path)
