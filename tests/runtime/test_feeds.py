from pathlib import Path

import numpy as np
import pytest

from modelkit.errors import CheckFailed, UsageError
from modelkit.model import InputSpec, load, save, write_inputs
from modelkit.runtime.feeds import Proposal, propose, typical_feeds
from modelkit.runtime.session import open_session
from tests.models import model_file


def proposal(path: Path, **options: object) -> Proposal:
    with open_session(path, optimize=False) as session:
        return propose(load(path), session.run, **options)  # type: ignore[arg-type]


def test_ids_stay_below_the_rows_of_the_table_they_index(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (int32[b, s] ids) => (float[b, s, 4] y)
    <float[11, 4] t> { i = Cast<to=7>(ids) y = Gather(t, i) }"""
    found = proposal(model_file(tmp_path / "m.onnx", text))
    assert len({feeds["ids"].shape for feeds, _ in found.trials}) == 2
    assert max(int(feeds["ids"].max()) for feeds, _ in found.trials) <= 10


def test_ids_that_come_as_floats_are_whole(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[b, s] words) => (float[b, s, 4] y)
    <float[11, 4] t> { i = Cast<to=6>(words) y = Gather(t, i) }"""
    found = proposal(model_file(tmp_path / "m.onnx", text))
    values = np.concatenate([feeds["words"].ravel() for feeds, _ in found.trials])
    assert values.dtype == np.float32
    assert np.array_equal(values, values.round())
    assert 0 <= values.min() < values.max() <= 10


def test_axes_of_other_names_that_must_be_equal_are_found(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[s18, s41] x, float[s77, s43] m) => (float[a, b] y) { y = Mul(x, m) }"""
    found = proposal(model_file(tmp_path / "m.onnx", text))
    for feeds, _ in found.trials:
        assert feeds["x"].shape == feeds["m"].shape


def test_a_mask_is_as_long_as_past_and_present(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (int64[b, s] input_ids, int64[b, t] attention_mask, float[b, 2, p, 4] past_key)
    => (float[b, 2, t, 4] y) <float[9, 8] table> {
    sh = Constant<value_ints=[0, 0, 2, 4]>() e = Gather(table, input_ids) r = Reshape(e, sh)
    k = Transpose<perm=[0,2,1,3]>(r) all = Concat<axis=2>(past_key, k)
    ax = Constant<value_ints=[1, 3]>() m = Unsqueeze(attention_mask, ax) f = Cast<to=1>(m)
    y = Mul(all, f) }"""
    found = proposal(model_file(tmp_path / "m.onnx", text))
    for feeds, _ in found.trials:
        total = feeds["input_ids"].shape[1] + feeds["past_key"].shape[2]
        assert feeds["attention_mask"].shape[1] == total


def test_masks_are_ones_and_once_padded(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (int64[b, s] attention_mask, float[b, s] x) => (float[b, s] y)
    { f = Cast<to=1>(attention_mask) y = Mul(f, x) }"""
    found = proposal(model_file(tmp_path / "m.onnx", text))
    sums = [feeds["attention_mask"].mean() for feeds, _ in found.trials]
    assert sums[0] == 1.0
    assert sums[1] < 1.0


def test_the_spec_in_the_model_is_trusted_first(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[b, 3] x) => (float[b, 3] y)
    { y = Sqrt(x) }"""
    model = load(model_file(tmp_path / "m.onnx", text))
    write_inputs(model, [InputSpec("x", "float32", ("b", 3), "float", 4.0, 9.0)])
    found = proposal(save(model, tmp_path / "out.onnx"))
    assert found.source == "input spec of the model"
    assert all(feeds["x"].min() >= 4 for feeds, _ in found.trials)


def test_nothing_usable_says_what_to_type(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[b, 3] x) => (float[b, 3] y)
    <float z = {0}> { y = Div(x, z) }"""
    with pytest.raises(CheckFailed, match="no generated inputs") as caught:
        proposal(model_file(tmp_path / "m.onnx", text))
    assert "--eval-data (optimize, compare, bench)" in caught.value.hint


def test_outputs_that_ignore_their_inputs_prove_nothing(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[b, 3] x) => (int64[2] y)
    { y = Shape(x) }"""
    with pytest.raises(CheckFailed) as caught:
        proposal(model_file(tmp_path / "m.onnx", text))
    assert "ignore" in caught.value.cause


def test_the_same_seed_gives_the_same_inputs_and_dims_are_obeyed(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[batch, sequence] x)
    => (float[batch, sequence] y) { y = Exp(x) }"""
    path = model_file(tmp_path / "m.onnx", text)
    one, two = proposal(path, seed=3), proposal(path, seed=3)
    np.testing.assert_array_equal(one.trials[0][0]["x"], two.trials[0][0]["x"])
    assert {f["x"].shape[0] for f, _ in proposal(path, dims={"batch": 5}).trials} == {5}
    assert typical_feeds(path)["x"].shape == (1, 128)
    assert typical_feeds(path, dims={"sequence": 6})["x"].shape == (1, 6)
    with pytest.raises(UsageError, match="no dynamic axis is called 'sequenze'"):
        proposal(path, dims={"sequenze": 5})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g (float[s18, s41, 4] x) => (float[a, b, 4] y) { y = Exp(x) }", (1, 128, 4)),
        ("g (float[n, 3, h, w] x) => (float[n, 3, h, w] y) { y = Tanh(x) }", (1, 3, 224, 224)),
        ("g (float[n, 3, 64, 48] x) => (float[n, 3, 64, 48] y) { y = Tanh(x) }", (1, 3, 64, 48)),
        (
            """g (float[n, 2, d, h, w] x) => (float[n, 2, d, h, w] y) { y = Tanh(x) }""",
            (1, 2, 16, 16, 16),
        ),
        (  # positions for 77 tokens
            """g (int64[n, s] x) => (float[n, s, 4] y)
            <float[77, 4] p, int64 z = {0}, int64 o = {1}, float[9, 4] t, int64[1] a = {0}> {
            l = Shape(x) i = Gather(l, o) r = Range(z, i, o) q = Gather(p, r)
            e = Gather(t, x) y = Add(e, q) }""",
            (1, 64),
        ),
        (  # a stack of convolutions that sound must fill
            """g (float[n, 1, s] x) => (float[n, 1, t] y) <float[1, 1, 400] w> {
            y = Conv(x, w) }""",
            (1, 1, 1024),
        ),
    ],
)
def test_what_is_timed_has_usual_lengths(
    tmp_path: Path, text: str, expected: tuple[int, ...]
) -> None:
    path = model_file(tmp_path / "m.onnx", f"""<ir_version: 8, opset_import: ["": 17]> {text}""")
    assert typical_feeds(path)["x"].shape == expected


def test_a_decoder_is_timed_on_one_token_after_many(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (int64[n, sequence_length] input_ids, int64[n, t] attention_mask, float[n, 2, p, 4] past_key)
    => (float[n, 2, q, 4] present, float[n, t] m, float[n, sequence_length, 4] e)
    <float[9, 4] w, int64[1] a = {1}> { e = Gather(w, input_ids) r = Unsqueeze(e, a)
    h = Concat<axis=1>(r, r) present = Concat<axis=2>(past_key, h) m = Cast<to=1>(attention_mask) }
    """
    feeds = typical_feeds(model_file(tmp_path / "m.onnx", text))
    shapes = {name: value.shape for name, value in feeds.items()}
    assert shapes == {
        "input_ids": (1, 1),
        "attention_mask": (1, 128),
        "past_key": (1, 2, 127, 4),
    }


def test_what_takes_seconds_at_usual_lengths_is_timed_on_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, s] x) => (float[n, s] y)
    { y = Exp(x) }"""
    path = model_file(tmp_path / "m.onnx", text)
    monkeypatch.setattr("modelkit.runtime.feeds._SLOW", -1.0)
    assert typical_feeds(path)["x"].shape == (1, 8)


def test_a_model_without_inputs_is_fine(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g () => (float[2] y)
    <float[2] w = {1, 2}> { y = Exp(w) }"""
    assert proposal(model_file(tmp_path / "m.onnx", text)).trials[0][0] == {}


def test_states_have_the_batch_of_what_they_belong_to(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[b, t, 4] x, float[2, n, 6] state) => (float[t, 2, b, 6] y)
    <float[2, 18, 4] w, float[2, 18, 6] r> {
    s = Transpose<perm=[1, 0, 2]>(x)
    y = GRU<hidden_size=6, direction="bidirectional">(s, w, r, , , state) }"""
    found = proposal(model_file(tmp_path / "m.onnx", text))
    assert all(feeds["x"].shape[0] == feeds["state"].shape[1] for feeds, _ in found.trials)


def test_a_graph_of_one_batch_only_runs(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[n, t, 4] x) => (float[t, 4] y)
    { a = Constant<value_ints=[0]>() y = Squeeze(x, a) }"""
    found = proposal(model_file(tmp_path / "m.onnx", text))
    assert [feeds["x"].shape[0] for feeds, _ in found.trials] == [1, 1]


def test_a_window_of_sound_is_found(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[b, samples] x) => (float[b, 1, t] y) <float[1, 1, 512] w>
    { a = Constant<value_ints=[1]>() u = Unsqueeze(x, a) y = Conv<strides=[160]>(u, w) }"""
    path = model_file(tmp_path / "m.onnx", text)
    assert all(feeds["x"].shape[1] >= 16000 for feeds, _ in proposal(path).trials)
    assert typical_feeds(path)["x"].shape == (1, 1024)


def test_both_sides_of_a_rate_are_run(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[b, 4] x, int64 sr) => (float[b, 4] y) {
    k = Constant<value_int=16000>() c = Equal(sr, k)
    y = If(c) <
      then_branch = one () => (float[b, 4] p) { p = Neg(x) },
      else_branch = two () => (float[b, 4] q) { q = Exp(x) }
    > }"""
    found = proposal(model_file(tmp_path / "m.onnx", text))
    assert [int(feeds["sr"]) for feeds, _ in found.trials] == [16000, 8000]


# Nothing is seen in noise: its mean over a picture is near zero, and a sigmoid's tail is left.
_DETECTOR = """<ir_version: 8, opset_import: ["": 17]>
g (float[n, 3, h, w] image) => (float[n, 3, 1, 1] y) <float k = {60}, float t = {30}>
{ m = GlobalAveragePool(image) a = Mul(m, k) z = Sub(a, t) y = Sigmoid(z) }"""


def test_pictures_are_drawn_for_what_sees_nothing_in_noise(tmp_path: Path) -> None:
    found = proposal(model_file(tmp_path / "m.onnx", _DETECTOR))
    assert found.source == "seeded, drawn pictures"
    sees = _DETECTOR.replace("30}", "0}")
    assert proposal(model_file(tmp_path / "s.onnx", sees)).source == "seeded"


def test_real_inputs_are_timed_where_no_generated_ones_run(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[b, c] x) => (float[b, 3] y)
    <float[5, 3] w> { y = MatMul(x, w) }"""
    path = model_file(tmp_path / "m.onnx", text)
    with pytest.raises(CheckFailed, match="no generated inputs"):
        typical_feeds(path)
    real = {"x": np.ones((2, 5), np.float32)}
    assert typical_feeds(path, real=real) is real
