"""The commands as users type them, in a shell: output, errors and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modelkit.model import load, operator_counts
from tests.models import linear_text, model_file

GELU = """<ir_version: 10, opset_import: ["": 20]> g (float[batch, 64] x) => (float[batch, 64] y)
<float[64, 64] w, float[64] b> { half = Constant<value_float=0.5>() one = Constant<value_float=1.0>()
root = Constant<value_float=1.4142135>() m = MatMul(x, w) a = Add(m, b) d = Div(a, root) e = Erf(d)
p = Add(e, one) h = Mul(half, p) y = Mul(a, h) }"""


def modelkit(
    *arguments: object, cwd: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelkit", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=timeout,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return model_file(tmp_path / "m.onnx", GELU)


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir())


def test_optimize_prints_the_written_path_alone_on_stdout(path: Path) -> None:
    done = modelkit("optimize", path, "--level", "all", "--no-measure")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{path.with_name('m.opt.onnx')}\n"
    assert "gelu_erf" in done.stderr
    assert "verified: 2 trials" in done.stderr
    again = modelkit("optimize", path, "--no-measure")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert "already up to date" in again.stderr


def test_the_same_input_gives_the_same_bytes(path: Path) -> None:
    for verb, extra in (("optimize", []), ("quantize", ["--dynamic"]), ("fp16", [])):
        outputs = []
        for name in ("1.onnx", "2.onnx"):
            out = path.with_name(name)
            done = modelkit(verb, path, *extra, "--no-measure", "-q", "--force", "-o", out)
            assert done.returncode == 0, done.stderr
            outputs.append(out.read_bytes())
        assert outputs[0] == outputs[1]


def test_optimize_explains_what_fired_and_what_nearly_did(path: Path) -> None:
    done = modelkit("optimize", path, "--no-measure", "--explain", "--skip", "gelu_erf")
    assert "not fused: gelu_erf" in done.stderr
    assert "left out by --skip" in done.stderr


def test_optimize_lists_its_rewrites_and_shows_what_they_did(path: Path) -> None:
    done = modelkit("optimize", "--list")
    assert "gelu_erf" in done.stdout
    assert "remove_identity" in done.stdout
    assert done.returncode == 0
    done = modelkit(
        "optimize", path, "--no-measure", "--check", "--for", "ort==1.17", "--dim", "batch=2"
    )
    assert done.returncode == 0, done.stderr
    assert "fixed batch=2" in done.stderr
    assert "operator" in done.stderr


def test_convert_lists_the_formats_it_knows() -> None:
    done = modelkit("convert", "--list")
    assert done.returncode == 0, done.stderr
    assert "onnx" in done.stdout.lower() and "GGUF" in done.stdout
    line = next(line for line in done.stdout.splitlines() if "torch.export program" in line)
    assert "torch 2." in line
    assert "not convertible" in done.stdout


def test_json_is_the_only_thing_on_stdout(path: Path) -> None:
    for command in (
        ("optimize", path, "--no-measure", "--json"),
        ("quantize", path, "--dynamic", "--no-measure", "--json"),
        ("fp16", path, "--no-measure", "--json"),
        ("inspect", path, "--json"),
        ("compare", path, path, "--json"),
        ("bench", path, "-n", 6, "--json"),
        ("doctor", "--json"),
    ):
        done = modelkit(*command)
        fields = json.loads(done.stdout)
        assert fields["schema_version"] == 1, command
        assert fields["kind"].endswith("Report")


def test_inspect_and_doctor_show_tables_on_stdout(path: Path) -> None:
    done = modelkit("inspect", path)
    assert "float32" in done.stdout
    assert "[batch, 64]" in done.stdout
    assert "onnxruntime" in modelkit("doctor").stdout


def test_tune_writes_a_table_that_optimize_takes(path: Path, tmp_path: Path) -> None:
    table = tmp_path / "here.toml"
    quick = ("--only", "silu", "--duration", "0.1")
    done = modelkit("tune", "--kernels", "-o", str(table), *quick)
    assert done.stdout.strip() == str(table)
    assert "1x128" in done.stderr
    shown = modelkit("optimize", str(path), "--target", str(table), "--no-measure", "--force")
    assert shown.returncode == 0
    assert modelkit("tune").returncode == 2


def test_quantize_then_compare(path: Path) -> None:
    out = path.with_name("q.onnx")
    done = modelkit("quantize", path, "--dynamic", "--no-measure", "-o", out)
    assert "1 of 1 layers quantized" in done.stderr
    assert modelkit("compare", path, out).returncode == 0
    assert modelkit("compare", path, out, "--rtol", "1e-6").returncode == 1


def test_fp16_shows_what_keeps_float_and_where_it_does_not_help(path: Path) -> None:
    out = path.with_name("h.onnx")
    done = modelkit("fp16", path, "--no-measure", "--keep", "Erf", "-o", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert "nodes in half" in done.stderr and "--keep Erf" in done.stderr
    assert "verified: " in done.stderr and "limit 50 dB" in done.stderr
    assert "bf16" in modelkit("fp16", path, "--bf16", "--no-measure").stderr
    missed = modelkit("fp16", path, "--no-measure", "--min-sqnr", "150", "-o", path.with_name("n"))
    assert missed.returncode == 1 and "nothing was written" in missed.stderr


def test_bench_shows_missing_providers_and_exits_5(path: Path) -> None:
    done = modelkit("bench", path, "--providers", "cpu,cuda", "-n", 6)
    assert done.returncode == 5
    assert "not run" in done.stdout
    assert "ms" in done.stdout or "µs" in done.stdout


def test_a_pass_that_spoils_the_result_never_reaches_the_disk(path: Path, tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np, onnx_ir as ir\n"
        "from modelkit import quantize\n"
        "from modelkit.quantize import weights\n"
        "right = weights.symmetric\n"
        "weights.symmetric = lambda *a: (lambda v, s: (v, s * 3))(*right(*a))\n"
        "quantize.quantize_file(sys.argv[1], measure=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=120
    )
    assert "CheckFailed" in done.stderr
    assert names(path) == ["m.onnx"]


ERRORS = {
    "missing file": (["optimize", "nothere.onnx"], 3, "no such file: nothere.onnx"),
    "folder": (["optimize", "."], 3, "is a folder"),
    "empty": (["optimize", "empty.onnx"], 3, "is empty"),
    "cut off": (["inspect", "cut.onnx"], 3, "is cut off or damaged"),
    "another format": (["optimize", "zip.onnx"], 3, "zip archive"),
    "unknown operator": (["optimize", "magic.onnx"], 4, "Magic"),
    "unknown name of an axis": (
        ["optimize", "m.onnx", "--dim", "bach=1"],
        2,
        "did you mean 'batch'",
    ),
    "unknown value": (["optimize", "m.onnx", "--extract", "q..y"], 2, "no value of the graph"),
    "unknown runtime": (["optimize", "m.onnx", "--for", "ort=1"], 2, "no runtime modelkit knows"),
    "unwritable": (["optimize", "m.onnx", "-o", "no/where.onnx"], 9, "does not exist"),
    "exists": (["optimize", "m.onnx", "-o", "empty.onnx"], 9, "--force"),
    "target is a folder": (["optimize", "m.onnx", "-o", "."], 9, "is a folder"),
    "unknown pass": (["optimize", "m.onnx", "--skip", "gelu_erff"], 2, "gelu_erf"),
    "unknown target": (["optimize", "m.onnx", "--target", "tpu"], 2, "tpu"),
    "no kind": (["quantize", "m.onnx"], 2, "--dynamic"),
    "two goals": (["fp16", "m.onnx", "--min-sqnr", "9", "--max-error", "1"], 2, "exclude each"),
    "unknown axis": (["compare", "m.onnx", "m.onnx", "--dim", "bath=2"], 2, "batch"),
    "bad data": (["compare", "m.onnx", "m.onnx", "--eval-data", "d.npz"], 3, "'x'"),
    "unknown format": (["convert", "rubbish.bin", "-o", "o.onnx"], 3, "rubbish.bin"),
    "pickle": (["convert", "evil.pkl", "-o", "o.onnx"], 3, "pickle"),
    "not yet": (["convert", "m.gguf", "-o", "o.onnx"], 4, "GGUF"),
    "unknown provider": (["bench", "m.onnx", "--providers", "cdua"], 2, "cuda"),
    "removed provider": (["bench", "m.onnx", "--providers", "ngraph"], 2, "openvino"),
    "bad limit": (["inspect", "m.onnx", "--memory-limit", "lots"], 2, "4GB"),
    "out of memory": (["optimize", "m.onnx", "--memory-limit", "100MB"], 8, "--memory-limit"),
    "time-out": (["optimize", "m.onnx", "--timeout", "0.05"], 7, "--timeout"),
}


@pytest.fixture
def folder(path: Path) -> Path:
    place = path.parent
    (place / "empty.onnx").touch()
    (place / "cut.onnx").write_bytes(path.read_bytes()[:-200])
    (place / "zip.onnx").write_bytes(b"PK\x03\x04" + b"x" * 60)
    (place / "rubbish.bin").write_bytes(b"\xff\xfe\xfd" * 30)
    (place / "evil.pkl").write_bytes(b"\x80\x04cos\nsystem\n(S'touch canary'\ntR.")
    (place / "m.gguf").write_bytes(b"GGUF" + bytes(40))
    np.savez(place / "d.npz", z=np.ones(3), w=np.ones(3))
    text = """<ir_version: 8, opset_import: ["": 17, "com.example": 1]>
    g (float[2] x) => (float[2] y) { y = com.example.Magic(x) }"""
    model_file(place / "magic.onnx", text)
    return place


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_clear_text_and_its_exit_code(folder: Path, case: str) -> None:
    arguments, code, words = ERRORS[case]
    before = names(folder / "m.onnx")
    done = modelkit(*arguments, cwd=folder)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert names(folder / "m.onnx") == before
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1


def test_json_errors_have_the_same_fields(folder: Path) -> None:
    done = modelkit("optimize", "nothere.onnx", "--json", cwd=folder)
    assert done.returncode == 3
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "no-such-file"
    assert error["exit_code"] == 3


def test_a_file_that_kills_the_library_is_one_error(tmp_path: Path) -> None:
    # Integer division of the lowest number by -1 ends ONNX Runtime with SIGFPE.
    text = """<ir_version: 8, opset_import: ["": 17]> g (int64[1] x) => (int64[1] y)
    <int64[1] a = {-9223372036854775808}, int64[1] b = {-1}> { d = Div(a, b) y = Add(d, x) }"""
    path = model_file(tmp_path / "m.onnx", text)
    done = modelkit("bench", path, "-n", 6)
    assert done.returncode == 6, done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_hostile_names_reach_no_terminal(tmp_path: Path) -> None:
    text = linear_text(8, 3).replace(" y)", " evil)").replace("y = Add", "evil = Add")
    path = model_file(tmp_path / "m.onnx", text)
    path.write_bytes(path.read_bytes().replace(b"evil", b"\x1b[2J"))
    done = modelkit("inspect", path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "\\x1b[2J" in done.stdout


def test_no_verify_says_so(path: Path) -> None:
    done = modelkit("optimize", path, "--no-verify", "--no-measure")
    assert done.returncode == 0
    assert "NOT VERIFIED" in done.stderr


def test_same_path_in_and_out(path: Path) -> None:
    assert modelkit("optimize", path, "-o", path, "--no-measure").returncode == 9
    done = modelkit("optimize", path, "-o", path, "--no-measure", "--force")
    assert done.returncode == 0, done.stderr
    assert modelkit("inspect", path).returncode == 0


def test_run_prints_a_short_view_or_writes(path: Path) -> None:
    np.save(path.with_name("a.npy"), np.ones((2, 64), np.float32))
    done = modelkit("run", path, "--input", path.with_name("a.npy"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("y: float32[2,64] ")
    out = path.with_name("o.npz")
    done = modelkit("run", path, "-i", "normal", "--dim", "batch=5", "-o", out)
    assert done.stdout == f"{out}\n"
    with np.load(out) as found:
        assert found["y"].shape == (5, 64)
    assert modelkit("run", path, "-i", "normal", "-o", out).returncode == 9
    assert modelkit("run", path, "-i", "normal", "--providers", "azure").returncode == 5
    assert modelkit("run", path, "-i", "normal", "--providers", "cuda").returncode == 5


def test_bench_sweeps_profiles_and_reports(path: Path) -> None:
    page, kept = path.with_name("r.html"), path.with_name("k.json")
    command = ("bench", path, path, "--dim", "batch=1,4", "-n", 6, "--profile")
    done = modelkit(*command, "--report", page, "--save", kept)
    assert done.returncode == 0, done.stderr
    assert "x[4, 64]" in done.stdout
    assert "time by operator" in done.stdout
    assert "<svg" in page.read_text()
    merged = modelkit("bench", "--merge", kept, kept)
    assert "kept figures" in merged.stdout, merged.stderr
    # Another file of that name is not replaced, and that is said before anything is timed.
    page.write_text("mine")
    done = modelkit("bench", path, "--duration", 600, "--report", page)
    assert (done.returncode, page.read_text()) == (9, "mine")


def test_inspect_shows_the_graph_and_differences(path: Path) -> None:
    assert " = Erf(%d" in modelkit("inspect", path, "--graph").stdout
    other = model_file(path.with_name("n.onnx"), GELU, seed=1)
    done = modelkit("inspect", path, other)
    assert "other values" in done.stdout
    assert "no differences" in modelkit("inspect", path, path).stdout


def test_compare_finds_the_layer_and_scores(path: Path) -> None:
    other = model_file(path.with_name("n.onnx"), GELU, seed=1)
    done = modelkit("compare", path, other, "--layers")
    assert done.returncode == 1
    assert "first difference: 'm' of MatMul" in done.stdout
    np.save(path.with_name("a.npy"), np.ones((2, 64), np.float32))
    (path.parent / "labels.txt").write_text("1\n2\n")
    data = ("--eval-data", path.with_name("a.npy"), "--labels", path.parent / "labels.txt")
    done = modelkit("compare", path, path, *data, "--metric", "top1")
    assert "accuracy by top1, 2 rows" in done.stdout


CUSTOM = """<ir_version: 10, opset_import: ["": 20, "ai.onnx.contrib": 1]>
g (float[batch, 64] x) => (float[batch, 64] y, float[batch, 64] up)
<float[64, 64] w, float[64] b> { m = MatMul(x, w) a = Add(m, b) i = Identity(a)
y, up = ai.onnx.contrib.NegPos(i) }"""


def test_operators_of_others_go_through_every_verb(tmp_path: Path) -> None:
    extensions = pytest.importorskip("onnxruntime_extensions")
    library = ("--custom-ops", extensions.get_library_path())
    path = model_file(tmp_path / "m.onnx", CUSTOM)
    without = modelkit("optimize", path, "--no-measure")
    assert without.returncode == 4, without.stderr
    assert "ai.onnx.contrib:NegPos" in without.stderr
    assert "--custom-ops" in without.stderr
    for arguments in (
        ("optimize", path, "--no-measure", "-o", tmp_path / "o.onnx"),
        ("quantize", path, "--dynamic", "--no-measure", "-o", tmp_path / "q.onnx"),
        ("compare", path, tmp_path / "o.onnx"),
        ("run", path, "-i", "normal"),
        ("bench", path, "--duration", "0.1"),
    ):
        done = modelkit(*arguments, *library)
        assert done.returncode == 0, (arguments, done.stderr)
    left = operator_counts(load(tmp_path / "o.onnx"))
    assert left["ai.onnx.contrib.NegPos"] == 1
    assert "Identity" not in left


def test_what_is_alike_is_explained_once(tmp_path: Path) -> None:
    body = "".join(f" s{i} = Sigmoid(x{i}) x{i + 1} = Mul(x{i}, s{i})" for i in range(5))
    text = f"""<ir_version: 10, opset_import: ["": 20]> g (float[n, 8] x0) => (float[n, 8] x5)
    {{ {body} }}"""
    path = model_file(tmp_path / "m.onnx", text)
    done = modelkit("optimize", path, "--no-measure", "--explain", "--skip", "silu", "--dry-run")
    lines = [line for line in done.stderr.splitlines() if line.startswith("not fused: silu")]
    assert len(lines) == 1
    assert " and 2 more: left out by --skip" in lines[0]


@pytest.mark.parametrize("verb", ["convert", "optimize"])
def test_lists_are_json_where_that_is_asked_for(verb: str) -> None:
    done = modelkit(verb, "--list", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"].endswith("Report")


def test_a_model_that_nothing_fits_says_so_in_a_line(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 3] x) => (float[n, 3] y)
    { y = Relu(x) }"""
    done = modelkit("optimize", model_file(tmp_path / "m.onnx", text), "--no-measure")
    assert done.returncode == 0, done.stderr
    assert "nothing to rewrite" in done.stderr
    assert "before" not in done.stderr


def test_a_title_stands_on_one_line_and_no_empty_header_under_it(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 3] x) => (float[n, 3] y)
    { y = %s(x) }"""
    files = [model_file(tmp_path / f"{op}.onnx", text % op) for op in ("Relu", "Tanh")]
    done = modelkit("inspect", *files)
    assert "operators that differ in number\n" in done.stdout
    assert "versions" in (shown := modelkit("doctor").stdout)
    assert not shown.splitlines()[1].isspace()
