import json

import pytest

from modelkit.cli.failure import print_error
from modelkit.errors import BadInput


def test_an_error_is_what_why_what_next(capsys: pytest.CaptureFixture[str]) -> None:
    error = BadInput("no such file: m.onnx", cause="first\nsecond", hint="check the path")
    print_error(error, as_json=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "error: no such file: m.onnx\ncause: first\n       second\nhelp: check the path\n"
    )


def test_empty_parts_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(BadInput("broken"), as_json=False)
    assert capsys.readouterr().err == "error: broken\n"


def test_json_has_the_same_fields(capsys: pytest.CaptureFixture[str]) -> None:
    error = BadInput("broken \x1b[2J", hint="h")
    print_error(error, as_json=True)
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert json.loads(err) == {"error": error.fields()}


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(BadInput("a\x1b[2Jb", cause="c\x9b", hint="\u202e"), as_json=False)
    assert capsys.readouterr().err == "error: a\\x1b[2Jb\ncause: c\\x9b\nhelp: \\u202e\n"
