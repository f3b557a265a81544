import pytest

from modelkit.errors import UsageError
from modelkit.runtime.providers import PROVIDERS, label, parse


def test_commas_are_rows_and_plus_is_priority() -> None:
    rows = parse("cpu,cuda,tensorrt+cuda")
    assert [label(row) for row in rows] == ["cpu", "cuda", "tensorrt+cuda"]
    assert [p.ort for p in rows[2]] == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]


def test_long_names_work_too() -> None:
    assert parse("CUDAExecutionProvider")[0][0].name == "cuda"
    assert len({provider.ort for provider in PROVIDERS}) == len(PROVIDERS)


@pytest.mark.parametrize(("name", "successor"), [("ngraph", "openvino"), ("mklml", "dnnl")])
def test_removed_ones_name_their_successor(name: str, successor: str) -> None:
    with pytest.raises(UsageError, match="no longer has") as caught:
        parse(name)
    assert successor in caught.value.hint


@pytest.mark.parametrize("name", ["cdua", "", "cpu,,cuda", "\x1b[2J"])
def test_unknown_ones_are_usage_errors(name: str) -> None:
    with pytest.raises(UsageError, match="unknown provider") as caught:
        parse(name)
    assert "\x1b" not in caught.value.message


def test_a_long_name_nobody_knows_is_tried_as_it_is() -> None:
    assert parse("VitisAIExecutionProvider")[0][0] == ("vitisai", "VitisAIExecutionProvider")
    with pytest.raises(UsageError, match="no longer has"):
        parse("NupharExecutionProvider")
