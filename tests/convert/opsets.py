"""--opset is honoured or refused, whatever the source is."""

from pathlib import Path
from typing import Any

from modelkit.convert import convert_file
from modelkit.errors import Unsupported

ASKED = (9, 13, 17, 21, 99)


def check_opsets(source: Path | str, folder: Path, *, least: int = 2, **options: Any) -> None:
    """Convert to each of ASKED; at least ``least`` of them must be written."""
    written = 0
    for opset in ASKED:
        target = folder / f"opset-{opset}.onnx"
        try:
            report = convert_file(str(source), str(target), opset=opset, **options)
        except Unsupported as refused:
            assert f"cannot become opset {opset}" in refused.message
            assert refused.cause or refused.hint
            assert not target.exists()
            continue
        written += 1
        assert report.result.opset[""] == opset
        assert report.verification.passed
        assert opset != 99
    assert written >= least
