import os
from pathlib import Path

import pytest

from modelkit.errors import CannotWrite, UsageError
from modelkit.runtime.tensorrt import cache_options, default_cache, profile_options, read_profile

PORTS = [("x", ("batch", 3, 224, 224)), ("fixed", (1, 2))]
GIVEN = {"x": ((1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224))}
VERSIONS = {"onnxruntime": "1.31", "tensorrt": "10.9"}


def test_shapes_as_typed() -> None:
    assert read_profile(["x:1x3,4x3,8x3"]) == {"x": ((1, 3), (4, 3), (8, 3))}
    for text in ("x", "x:1x3", "x:1,2", ":1,1,1", "x:1xa,1x2,1x3"):
        with pytest.raises(UsageError, match="not NAME:MIN,OPT,MAX"):
            read_profile([text])
    for text in ("x:2x3,1x3,8x3", "x:1x3,4,8"):
        with pytest.raises(UsageError, match="min <= opt <= max"):
            read_profile([text])


def test_options_for_dynamic_inputs_only() -> None:
    assert profile_options(PORTS, GIVEN, {}) == {
        "trt_profile_min_shapes": "x:1x3x224x224",
        "trt_profile_opt_shapes": "x:8x3x224x224",
        "trt_profile_max_shapes": "x:32x3x224x224",
    }
    assert profile_options(PORTS[1:], {}, {}) == {}
    assert profile_options(PORTS, {}, {"trt_profile_min_shapes": "by hand"}) == {}


def test_a_dynamic_axis_without_a_profile_names_the_flags() -> None:
    with pytest.raises(UsageError, match="dynamic axes") as caught:
        profile_options(PORTS, {}, {})
    hint = caught.value.hint
    assert hint == "--trt-shape x:1x3x224x224,8x3x224x224,32x3x224x224"
    assert read_profile([hint.removeprefix("--trt-shape ")])
    with pytest.raises(UsageError, match="no input 'z'"):
        profile_options(PORTS, {**GIVEN, "z": GIVEN["x"]}, {})
    with pytest.raises(UsageError, match="cannot name"):
        profile_options([("a b", ("n",))], {"a b": ((1,), (1,), (1,))}, {})


def test_a_cache_is_made_for_exactly_these_facts(tmp_path: Path) -> None:
    first = cache_options(tmp_path, "sha", {"trt_fp16_enable": "1"}, VERSIONS)
    again = cache_options(tmp_path, "sha", {"trt_fp16_enable": "1"}, VERSIONS)
    other = cache_options(tmp_path, "sha", {}, VERSIONS)
    newer = cache_options(tmp_path, "sha", {}, {**VERSIONS, "onnxruntime": "1.32"})
    places = [found["trt_engine_cache_path"] for found in (first, other, newer)]
    assert first == again
    assert len(set(places)) == 3
    assert all(Path(place).is_dir() for place in places)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_engines_somebody_else_could_have_written_are_not_loaded(tmp_path: Path) -> None:
    place = Path(cache_options(tmp_path, "sha", {}, VERSIONS)["trt_engine_cache_path"])
    place.chmod(0o777)
    with pytest.raises(CannotWrite, match="others can write"):
        cache_options(tmp_path, "sha", {}, VERSIONS)
    place.chmod(0o700)
    (place / "modelkit-engine-cache.json").write_text("another model")
    with pytest.raises(CannotWrite, match="not an engine cache"):
        cache_options(tmp_path, "sha", {}, VERSIONS)


def test_the_default_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache() == Path("/somewhere/modelkit")
