import platform
from pathlib import Path
from typing import Any

import pytest

from modelkit.errors import Unsupported, UsageError
from modelkit.quantize.options import Options, checked, saturates


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(mode="static"), "--calib-data"),
        (Options(mode="static", calib_data="x.npz", random_data=True), "--calib-data"),
        (Options(target="gpu"), "cuda"),
        (Options(format="qqq"), "qdq"),
        (Options(calibration="best"), "entropy"),
        (Options(exclude=("[",)), ""),
        (Options(mode="static", calib_data="x", target="tensorrt", format="qop"), "--format"),
        (
            Options(mode="static", calib_data="x", target="tensorrt", activation_type="uint8"),
            "--activation-type",
        ),
        (Options(target="tensorrt"), "--static"),
        (Options(target="any"), "--static"),
        (Options(weight_type="int9"), "uint8"),
        (Options(mode="static", calib_data="x", activation_type="fp8"), "int8"),
    ],
)
def test_contradictions_are_usage_errors(options: Options, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(options)
    assert words in caught.value.hint


def test_cuda_is_refused_with_the_reason_and_another_way() -> None:
    with pytest.raises(Unsupported, match="slower") as caught:
        checked(Options(mode="static", random_data=True, target="cuda"))
    assert "no integer kernels" in caught.value.cause
    assert "fp16" in caught.value.hint


def test_the_form_follows_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert Options().form().unsigned
    assert Options().form().qop
    assert not Options(target="any").form().qop
    form = Options(target="tensorrt").form()
    assert (form.unsigned, form.qop, form.integer_bias) == (False, False, False)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert not Options().form().unsigned


def test_without_vnni_weights_keep_seven_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nflags\t\t: fpu sse avx2\n")
    assert saturates(file)
    file.write_text("flags : avx2 avx512_vnni\n")
    assert not saturates(file)
    assert not saturates(tmp_path / "nowhere")
    monkeypatch.setattr("modelkit.quantize.options.saturates", lambda: True)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert Options().form().largest == 63
    assert Options(target="tensorrt").form().largest == 127
    assert not Options(mode="int4").guarded
    assert not Options(weight_type="uint8").guarded


def test_the_recipe_holds_no_folder_of_this_machine() -> None:
    recipe = Options(calib_data="/secret/place/data.npz", exclude=("b", "a")).recipe()
    assert recipe["calib_data"] == "data.npz"
    assert recipe["exclude"] == ["a", "b"]


def test_weights_in_blocks_have_their_own_choices() -> None:
    found = checked(Options(mode="int4", block_size=64, asymmetric=True)).blocks()
    assert (found.bits, found.size, found.symmetric) == (4, 64, False)
    assert checked(Options(mode="int8-weights", target="cuda")).blocks().bits == 8
    defaults: tuple[tuple[dict[str, Any], bool], ...] = (
        ({}, False),
        ({"calib_data": "x.npz"}, False),
        ({"asymmetric": False}, True),
        ({"calib_data": "x.npz", "asymmetric": False}, True),
        ({"asymmetric": True}, False),
        ({"calib_data": "x.npz", "mode": "int8-weights"}, True),
    )
    for given, symmetric in defaults:
        assert checked(Options(**{"mode": "int4", **given})).blocks().symmetric is symmetric
    for wrong, words in (
        ({"mode": "static", "asymmetric": False, "calib_data": "x"}, "--symmetric says nothing"),
        ({"mode": "int4", "block_size": 48}, "no kernel"),
        ({"mode": "int4", "random_data": True}, "random data"),
        ({"mode": "int4", "format": "qdq"}, "MatMulNBits"),
        ({"mode": "dynamic", "block_size": 64}, "--block-size says nothing"),
    ):
        with pytest.raises(UsageError, match=words):
            checked(Options(**wrong))


@pytest.mark.parametrize(
    ("mode", "given", "words"),
    [
        ("dynamic", {"calib_data": "x.npz"}, "--calib-data says nothing to --dynamic"),
        ("dynamic", {"random_data": True}, "--random-data"),
        ("dynamic", {"calibration": "mse"}, "--calibration"),
        ("dynamic", {"smoothing": False}, "--no-smoothing"),
        ("dynamic", {"format": "qdq"}, "--format"),
        ("dynamic", {"activation_type": "int8"}, "--activation-type"),
        ("static", {"calib_data": "x", "weight_type": "uint8"}, "--weight-type"),
        ("int4", {"weight_type": "uint8"}, "--weight-type"),
        ("int8-weights", {"per_channel": False}, "--per-tensor"),
        ("static", {"calib_data": "x", "asymmetric": True}, "--asymmetric"),
        ("auto", {"max_drop": "1%", "block_size": 64}, "--block-size"),
    ],
)
def test_what_a_mode_would_ignore_is_refused(mode: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        checked(Options(mode=mode, **given))
    assert "it is about --" in caught.value.hint or "it is about weights" in caught.value.hint


def test_the_type_of_activations_may_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert not Options(activation_type="int8").form().unsigned
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert Options(activation_type="uint8").form().unsigned
