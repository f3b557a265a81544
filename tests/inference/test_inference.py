import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelkit.errors import BadInput, CannotWrite, ProviderMissing, UsageError
from modelkit.inference import _Loop, brief, run_file
from modelkit.model import load, save
from modelkit.optimize.shared_cache import share_cache
from modelkit.runtime.data import Sample
from modelkit.runtime.session import Feeds, open_session
from tests.models import linear_text, model_file, parsed
from tests.optimize.decoder import decoder, feeds

CONSTANT_MEMORY = """
import sys
from pathlib import Path
from modelkit.inference import run_file
report = run_file(sys.argv[1], inputs=[sys.argv[2]], output=sys.argv[3])
status = Path("/proc/self/status").read_text().splitlines()
print(report.samples, next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return model_file(tmp_path / "m.onnx", linear_text(4, 3))


def test_one_input_needs_no_name(path: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 4)))
    report = run_file(str(path), inputs=[str(tmp_path / "a.npy")])
    assert report.samples == 1
    assert report.shown[0]["y"].startswith("float32[2,3] ")
    assert report.notes == ("input 'x': float64 values taken as float32",)


def test_results_to_a_file_as_they_come(path: Path, tmp_path: Path) -> None:
    records = [json.dumps({"x": [index, 1, 2, 3]}) for index in range(7)]
    (tmp_path / "d.jsonl").write_text("\n".join(records))
    out = tmp_path / "o.npz"
    report = run_file(str(path), inputs=[str(tmp_path / "d.jsonl")], output=str(out))
    assert (report.samples, report.written, report.shown) == (7, str(out), ())
    with np.load(out) as found:
        assert found["y"].shape == (7, 3)
    with pytest.raises(CannotWrite, match="exists"):
        run_file(str(path), inputs=[str(tmp_path / "d.jsonl")], output=str(out))
    with pytest.raises(UsageError, match="cannot write"):
        run_file(str(path), inputs=["normal"], output="o.txt")


def test_an_interrupted_run_goes_on_with_the_same_inputs_only(path: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "d.jsonl", tmp_path / "o.jsonl"
    good = [json.dumps({"x": [index, 1, 2, 3]}) for index in range(4)]
    data.write_text("\n".join([*good[:2], "{broken"]))
    with pytest.raises(BadInput, match="line 3"):
        run_file(str(path), inputs=[str(data)], output=str(out), resume=True)
    assert not out.exists()
    # Another file is another run: its samples are all done anew.
    data.write_text("\n".join(good) + "\n")
    report = run_file(str(path), inputs=[str(data)], output=str(out), resume=True)
    assert report.samples == 4
    out.unlink()
    (partial,) = tmp_path.glob(".o.jsonl.*.partial")
    partial.unlink()


def test_post_and_labels(path: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\neel\n")
    report = run_file(str(path), inputs=["normal"], post=["softmax", "topk:2"], seed=1)
    best, second = report.shown[0]["y"].split(", ")
    assert best.split()[0] in ("cat", "dog", "eel")
    assert float(best.split()[1]) >= float(second.split()[1])


def test_an_old_model_with_weights_as_inputs(tmp_path: Path) -> None:
    proto = parsed(linear_text(4, 3, opset=7))
    proto.ir_version = 3
    for name, shape in (("w", [4, 3]), ("b", [3])):
        proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    (tmp_path / "old.onnx").write_bytes(proto.SerializeToString())
    report = run_file(str(tmp_path / "old.onnx"), inputs=["ones"])
    assert report.shown[0]["y"].startswith("float32[1,3]")


def test_a_test_data_set_is_held_to_its_outputs(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "test_data_set_0"
    folder.mkdir()
    values = {"input_0.pb": np.zeros((1, 4), np.float32), "output_0.pb": np.zeros((1, 3), "f4")}
    for name, value in values.items():
        (folder / name).write_bytes(onnx.numpy_helper.from_array(value).SerializeToString())
    (note,) = run_file(str(path), inputs=[str(folder)]).notes
    assert "from what the data set keeps" in note
    (same,) = run_file(str(path), inputs=[str(tmp_path)]).notes
    assert same == note


def test_a_provider_that_does_not_carry_its_share(path: Path) -> None:
    with pytest.raises(ProviderMissing, match="carries 0%"):
        run_file(str(path), inputs=["ones"], providers="azure")
    report = run_file(str(path), inputs=["ones"], providers="azure", allow_fallback=True)
    assert report.placement is not None
    assert report.placement.nodes == {"cpu": 1}
    with pytest.raises(UsageError, match="several rows"):
        run_file(str(path), inputs=["ones"], providers="cpu,azure")


def test_bad_words_and_folders(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="makes no sense"):
        run_file(str(path), inputs=["ones"], batch=0)
    with pytest.raises(UsageError, match="only CLIP"):
        run_file(str(tmp_path), inputs=["image=a.png"])
    with pytest.raises(UsageError, match="'x' got no value"):
        run_file(str(path))


def test_values_in_a_line() -> None:
    assert brief(np.arange(3.0)) == "float64[3] 0 1 2"
    assert brief(np.zeros((2, 9), np.int64)) == "int64[2,9] 0 0 0 0 0 0 0 0 ..."
    assert brief(np.array(["\x1b[2J"], object)) == r"str[1] \x1b[2J"
    assert brief([[{"label": "\x1b", "score": 0.5}]]) == r"\x1b 0.5000"
    assert brief([{"key": 1}]) == "{'key': 1}"


@pytest.mark.parametrize("suffix", [".jsonl", ".npz"])
def test_memory_stays_flat_over_many_samples(path: Path, tmp_path: Path, suffix: str) -> None:
    peaks = []
    for count in (200, 20_000):
        data = tmp_path / f"{count}.jsonl"
        with data.open("w") as file:
            file.writelines(f'{{"x": [{index}, 1, 2, 3]}}\n' for index in range(count))
        done = subprocess.run(
            [sys.executable, "-c", CONSTANT_MEMORY, str(path), str(data), f"{data}{suffix}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        samples, peak = map(int, done.stdout.split())
        assert samples == count
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 15_000  # kilobytes


def shared_decoder(folder: Path) -> Path:
    shared, _ = share_cache(load(decoder(folder)))
    return save(shared, folder / "shared.onnx")


def test_a_decoder_keeps_its_caches_from_sample_to_sample(tmp_path: Path) -> None:
    model = shared_decoder(tmp_path)
    ids = np.random.default_rng(0).integers(0, 50, (1, 9))
    rows = [(slice(0, 5), 5), *((slice(at, at + 1), at + 1) for at in range(5, 9))]
    records = [{"ids": ids[:, part].tolist(), "attention_mask": [[1] * n]} for part, n in rows]
    data, out = tmp_path / "d.jsonl", tmp_path / "o.jsonl"
    data.write_text("\n".join(map(json.dumps, records)))
    report = run_file(str(model), inputs=[str(data)], output=str(out))
    assert report.samples == 5
    assert "caches are kept from one sample to the next" in report.notes
    whole = feeds(1, 9, 0) | {"ids": ids}
    with open_session(tmp_path / "decoder.onnx") as session:
        expected = session.run(whole)["logits"]
    lines = [json.loads(line)["outputs"] for line in out.read_text().splitlines()]
    assert not any(key.startswith("present") for each in lines for key in each)
    actual = np.concatenate([np.array(each["logits"]).reshape(1, -1, 50) for each in lines], 1)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def test_steps_that_were_written_are_run_again_where_later_ones_build_on_them() -> None:
    added: list[str] = []

    class Done:
        done = 2

        def add(self, name: str, outputs: object) -> None:
            added.append(name)

        def commit(self) -> None: ...

    seen: list[int] = []

    def run(feeds: Feeds) -> Feeds:
        seen.append(int(feeds["x"][0]))
        return {"y": feeds["x"]}

    samples = [Sample(str(at), {"x": np.array([at])}) for at in range(4)]
    loop = _Loop(run, (), (), Done(), replay=True)  # type: ignore[arg-type]
    loop.all(iter(samples))
    assert (seen, added, loop.count) == ([0, 1, 2, 3], ["2", "3"], 2)


def test_a_decoder_takes_caches_that_samples_hold(tmp_path: Path) -> None:
    model = shared_decoder(tmp_path)
    np.savez(tmp_path / "s.npz", **feeds(1, 1, 6))  # type: ignore[arg-type]
    report = run_file(str(model), inputs=[str(tmp_path / "s.npz")])
    assert set(report.shown[0]) == {"logits", "present_key_0", "present_value_0"}
    assert report.notes == ()
    np.savez(tmp_path / "t.npz", ids=np.ones((1, 1), np.int64))
    with pytest.raises(BadInput, match="attention_mask"):
        run_file(str(model), inputs=[str(tmp_path / "t.npz")])
