"""A decoder of one or two layers of attention with caches, in text."""

from pathlib import Path

import numpy as np

from tests.models import Feeds, model_file

HEADS, KEPT, WIDTH, ROWS = 4, 2, 8, 50


def text(layers: int = 1, reads: str = "") -> str:
    """``reads`` is appended to the body."""
    ins, outs, weights, body = [], [], [], []
    for at in range(layers):
        for part in ("key", "value"):
            ins.append(f"float[batch, {KEPT}, past, {WIDTH}] past_{part}_{at}")
            outs.append(f"float[batch, {KEPT}, total, {WIDTH}] present_{part}_{at}")
        weights.append(f"float[32, 32] q{at}, float[32, 16] k{at}, float[32, 16] v{at}")
        x = "x" if at == 0 else f"h{at - 1}"
        body.append(
            f"a{at} = MatMul({x}, q{at}) b{at} = MatMul({x}, k{at}) c{at} = MatMul({x}, v{at})"
            f" o{at}, present_key_{at}, present_value_{at} = Attention<q_num_heads={HEADS},"
            f" kv_num_heads={KEPT}>(a{at}, b{at}, c{at}, bias, past_key_{at}, past_value_{at})"
            f" r{at} = Add({x}, o{at}) h{at} = LayerNormalization(r{at}, scale)"
        )
    return f"""<ir_version: 10, opset_import: ["": 23]> g
    (int64[batch, tokens] ids, int64[batch, total] attention_mask, {", ".join(ins)})
    => (float[batch, tokens, {ROWS}] logits, {", ".join(outs)})
    <float[{ROWS}, 32] table, float[1200, 32] places, float[32] scale, float[32, {ROWS}] head,
     {", ".join(weights)}, int64 zero = {{0}}, int64 one = {{1}}, int64[1] first = {{0}},
     int64[1] second = {{1}}, int64[1] third = {{2}}, float low = {{-1e9}}, float none = {{0}}>
    {{ shape = Shape(past_key_0) filled1 = Gather(shape, third) filled = Squeeze(filled1, first)
      length1 = Shape<start=1, end=2>(ids) length = Squeeze(length1, first)
      whole = Add(filled, length) at = Range(filled, whole, one) all = Range(zero, whole, one)
      e = Gather(table, ids) p = Gather(places, at) x0 = Add(e, p)
      x = LayerNormalization(x0, scale)
      mine = Unsqueeze(at, second) causal = LessOrEqual(all, mine)
      kept1 = Cast<to=9>(attention_mask) axes = Concat<axis=0>(second, third)
      kept = Unsqueeze(kept1, axes) seen = And(causal, kept) bias = Where(seen, none, low)
      {" ".join(body)} logits = MatMul(h{layers - 1}, head) {reads} }}"""


def decoder(folder: Path, layers: int = 1, reads: str = "") -> Path:
    return model_file(folder / "decoder.onnx", text(layers, reads))


def feeds(batch: int, tokens: int, past: int, layers: int = 1, seed: int = 0) -> Feeds:
    random = np.random.default_rng(seed)
    found: Feeds = {
        "ids": random.integers(0, ROWS, (batch, tokens)),
        "attention_mask": np.ones((batch, past + tokens), np.int64),
    }
    for at in range(layers):
        for part in ("key", "value"):
            shape = (batch, KEPT, past, WIDTH)
            found[f"past_{part}_{at}"] = random.standard_normal(shape).astype(np.float32)
    return found
