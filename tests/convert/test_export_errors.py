from modelkit.convert.export_errors import NO_OPERATOR, explained


class UnsupportedOperatorError(Exception):
    pass


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


def test_an_operator_without_a_form_is_named_with_its_place() -> None:
    error = raised(UnsupportedOperatorError(
        "Exporting the operator 'aten::fft_rfft' to ONNX opset version 17 is not supported."
    ))  # fmt: skip
    found = explained(error, "tracing")
    assert found.message == "torch's tracing: an operator has no ONNX form (aten::fft_rfft)"
    assert found.cause.startswith("test_export_errors.py:")
    assert "replace it" in found.hint
    assert found.code == NO_OPERATOR


def test_the_root_of_a_chain_is_told_without_colours() -> None:
    inner = RuntimeError(
        "\x1b[96mCould not guard on data-dependent expression u0 > 0\x1b[0m\n\nlong"
    )
    found = explained(raised(ValueError("Failed step 1/3"), raised(inner)), "graph capture")
    assert "branches on the value of a tensor" in found.message
    assert "u0 > 0" in found.cause
    assert "long" not in found.cause
    assert "\x1b" not in found.cause
    assert "torch.where" in found.hint


def test_the_line_of_the_user_in_the_text_is_found() -> None:
    text = 'Dim failed\n  File "/home/me/net.py", line 12, in forward\n    y = x.view(2, -1)\n'
    found = explained(Exception(text), "graph capture")
    assert found.cause.startswith("net.py:12 `y = x.view(2, -1)`")


def test_an_unknown_error_still_says_something() -> None:
    found = explained(Exception(""), "tracing")
    assert found.message and found.cause and found.hint
    assert found.code == "export-failed"
