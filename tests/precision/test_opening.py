from pathlib import Path

import pytest

from modelkit.errors import CheckFailed
from modelkit.precision.opening import check_opens
from tests.models import linear_text, model_file

WRONG = """<ir_version: 8, opset_import: ["": 17]>
g (float[n] x, HALF[n] h) => (float[n] y) { y = Add(x, h) }"""


@pytest.mark.parametrize(("half", "kind"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_types_that_do_not_fit_are_refused(half: str, kind: str, tmp_path: Path) -> None:
    source = model_file(tmp_path / "s.onnx", linear_text(4, 4))
    wrong = model_file(tmp_path / "w.onnx", WRONG.replace("HALF", kind))
    with pytest.raises(CheckFailed, match=half) as caught:
        check_opens(wrong, source, half)
    assert caught.value.cause and "--keep" in (caught.value.hint or "")
    check_opens(source, source, half)


def test_a_source_that_onnx_faults_too_proves_nothing_against_its_result(tmp_path: Path) -> None:
    wrong = model_file(tmp_path / "w.onnx", WRONG.replace("HALF", "bfloat16"))
    check_opens(wrong, wrong, "bf16")
