from collections import Counter
from pathlib import Path

import numpy as np
import onnx

from modelkit.model import load, save, validate
from modelkit.quantize.emit import Form
from modelkit.quantize.static import Recipe, calibrate, compress
from modelkit.runtime import metrics
from tests.harness import floats
from tests.models import model_file, run

TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 64] x) => (float[n, 48] y)
    <float[64, 96] w, float[96] b, float[96, 48] v>
    { p = MatMul(x, w) a = Add(p, b) r = Relu(a) y = MatMul(r, v) }"""


def test_layers_fall_back_to_blocks_in_the_operator_form_and_to_float_in_the_other(
    tmp_path: Path,
) -> None:
    path = model_file(tmp_path / "m.onnx", TEXT)
    loud = np.where(np.arange(64) < 2, 40, 1).astype(np.float32)  # one block's channels
    samples = [{"x": floats(8, 64, seed=seed) * loud} for seed in range(8)]
    for qop in (True, False):
        recipe = Recipe(form=Form(qop=qop), smoothing=False)
        calibrated = calibrate(load(path), lambda: iter(samples), recipe)
        names = list(calibrated.errors)
        decibels = []
        for keep in (frozenset[str](), frozenset(names[:1]), frozenset(names)):
            result, outcome = compress(calibrated, recipe, keep)
            validate(result)
            out = save(result, tmp_path / "out.onnx", force=True)
            counts = Counter(node.op_type for node in onnx.load(out).graph.node)
            if qop:
                assert counts["MatMulNBits"] == len(keep)
                assert (outcome.quantized, len(outcome.skips)) == (2, 0)
            else:
                assert counts["MatMul"] == 2
                assert (outcome.quantized, len(outcome.skips)) == (2 - len(keep), len(keep))
            assert calibrated.corrected == 2 - len(keep)
            energies = metrics.energies(run(path, samples[0])["y"], run(out, samples[0])["y"])
            decibels.append(metrics.sqnr(*energies))
        assert decibels[2] > decibels[0] + 3
