import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from modelkit.errors import BadInput, CheckFailed, ProviderMissing, Unsupported, UsageError
from modelkit.runtime import session as module
from modelkit.runtime.providers import CPU, parse
from modelkit.runtime.session import Setup, open_session
from tests.models import linear_text, model_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return model_file(tmp_path / "m.onnx", linear_text(8, 3))


def test_it_runs_and_tells_its_signature(path: Path) -> None:
    with open_session(path) as session:
        assert session.inputs[0].shape == ("n", 8)
        assert session.run({"x": np.ones((2, 8), np.float32)})["y"].shape == (2, 3)


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({}, "input 'x' got no value"),
        ({"x": np.ones((2, 8), np.float32), "z": np.ones(1)}, "no input 'z'"),
        ({"x": np.ones((2, 8))}, "is float32, not float64"),
        ({"x": np.ones((2, 7), np.float32)}, "has shape [2, 7]"),
        ({"x": np.ones(8, np.float32)}, "has shape [8]"),
    ],
)
def test_wrong_feeds_are_usage_errors(path: Path, feeds: dict, words: str) -> None:
    with open_session(path) as session, pytest.raises(UsageError) as caught:
        session.run(feeds)
    assert words in caught.value.message


def test_a_misspelt_input_is_suggested(path: Path) -> None:
    text = linear_text(8, 3).replace(" x)", " input_ids)").replace("(x,", "(input_ids,")
    with open_session(model_file(path, text)) as session, pytest.raises(UsageError) as caught:
        session.run({"input_idz": np.ones((2, 8), np.float32)})
    assert caught.value.hint == "did you mean 'input_ids'?"


def test_a_provider_that_is_not_built_in_is_refused(path: Path) -> None:
    with pytest.raises(ProviderMissing, match="'cuda' is not in") as caught:
        open_session(path, providers=parse("cuda")[0])
    assert caught.value.exit_code == 5
    with open_session(path, providers=parse("cuda")[0], allow_fallback=True) as session:
        assert session.raw.get_providers() == ["CPUExecutionProvider"]


def test_a_provider_that_silently_falls_back_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    with pytest.raises(ProviderMissing):
        open_session(path, providers=parse("cuda")[0])


def test_an_unknown_operator_is_unsupported(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "com.example": 1]>
    g (float[2] x) => (float[2] y) { y = com.example.Magic(x) }"""
    with pytest.raises((Unsupported, BadInput)) as caught:
        open_session(model_file(tmp_path / "m.onnx", text))
    assert "Magic" in caught.value.cause


def test_a_failing_operator_is_named(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n] x, int64[k] s) => (float[m] y)
    { y = Reshape(x, s) }"""
    with open_session(model_file(tmp_path / "m.onnx", text)) as session:
        with pytest.raises(CheckFailed, match="did not run") as caught:
            session.run({"x": np.ones(4, np.float32), "s": np.array([3])})
        assert "Reshape" in caught.value.cause


def test_an_old_model_with_initializers_as_inputs_runs(tmp_path: Path) -> None:
    text = """<ir_version: 3, opset_import: ["": 7]> g (float[2] x, float[2] w) => (float[2] y)
    <float[2] w = {1, 2}> { y = Add(x, w) }"""
    with open_session(model_file(tmp_path / "m.onnx", text)) as session:
        found = session.run({"x": np.zeros(2, np.float32)})["y"]
    np.testing.assert_array_equal(found, [1, 2])


def test_strings_pass(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (string[n] x) => (string[n] y)
    { y = Identity(x) }"""
    with open_session(model_file(tmp_path / "m.onnx", text)) as session:
        assert session.inputs[0].dtype == "str"
        assert list(session.run({"x": np.array(["a", "b"], object)})["y"]) == ["a", "b"]


def test_the_cpu_is_there() -> None:
    assert CPU.ort in module.available()
    assert module.version()


def test_without_onnx_runtime_the_extras_are_named() -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from modelkit.errors import Unsupported\n"
        "try:\n    import modelkit.runtime.session\n"
        "except Unsupported as error:\n    print(error.exit_code, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("4 ")
    assert "modelkit[cpu]" in done.stdout
    assert "modelkit[gpu]" in done.stdout


def test_setup_options_reach_the_runtime(path: Path) -> None:
    setup = Setup(threads=2, inter_op=2, session_options={"session.disable_prepacking": "1"})
    with setup.open(path) as session:
        assert session.raw.get_session_options().intra_op_num_threads == 2
    with pytest.raises(UsageError, match="unknown graph level"):
        Setup(graph_level="most").open(path)
    for library in ("ops.so", "/no/such/ops.so"):
        with pytest.raises(UsageError, match="absolute path"):
            Setup(custom_ops=(Path(library),)).open(path)


def test_a_library_that_is_none_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "ops.so").write_bytes(b"not a library")
    with pytest.raises(Unsupported, match="could not be loaded"):
        Setup(custom_ops=(tmp_path / "ops.so",)).open(path)


def test_tensorrt_asks_for_shapes_before_it_opens(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ["TensorrtExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    setup = Setup(providers=parse("tensorrt")[0], cache=tmp_path)
    with pytest.raises(UsageError, match="dynamic axes") as caught:
        setup.open(path)
    assert caught.value.hint == "--trt-shape x:1x8,8x8,32x8"
    shapes = {"x": ((1, 8), (2, 8), (4, 8))}
    seen: dict[str, dict] = {}

    def opened(place: str, options: object, providers: list, provider_options: list) -> None:
        seen.update(zip(providers, provider_options, strict=True))
        raise RuntimeError("no card here")

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    with pytest.raises(BadInput, match="could not be opened"):
        Setup(providers=parse("tensorrt")[0], cache=tmp_path, trt_shapes=shapes).open(path)
    given = seen["TensorrtExecutionProvider"]
    assert given["trt_profile_max_shapes"] == "x:4x8"
    assert Path(given["trt_engine_cache_path"]).is_relative_to(tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cuda", "tensorrt+cuda"])
def test_a_real_card_runs_the_model(path: Path, name: str, tmp_path: Path) -> None:
    from modelkit.runtime.profile import check_offload

    shapes = {"x": ((1, 8), (2, 8), (4, 8))}
    setup = Setup(providers=parse(name)[0], cache=tmp_path / "cache", trt_shapes=shapes)
    feeds = {"x": np.ones((2, 8), np.float32)}
    with open_session(path) as session:
        expected = session.run(feeds)["y"]
    with setup.open(path) as session:
        np.testing.assert_allclose(session.run(feeds)["y"], expected, rtol=1e-2)
    assert check_offload(setup, path, feeds).offloaded >= 0.9


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells it on Linux only")
def test_a_model_opened_as_written_keeps_its_weights_in_their_file(tmp_path: Path) -> None:
    size = 4096
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[size, size], data_location=1)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(size * size * 4))):
        tensor.external_data.add(key=key, value=value)
    model = onnx.parser.parse_model(
        f"""<ir_version: 9, opset_import: ["": 18]> g (float[n, {size}] x) => (float[n, {size}] y)
        {{ y = MatMul(x, w) }}"""
    )
    model.graph.initializer.append(tensor)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(size * size * 4)
    code = (
        "import sys; from pathlib import Path; from modelkit.runtime.session import open_session\n"
        "def held():\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('RssAnon'))\n"
        "before = held()\n"
        "session = open_session(Path(sys.argv[1]), optimize=False)\n"
        "print(held() - before)"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 32 * 1024
