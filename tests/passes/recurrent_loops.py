"""Loops of recurrent layers, as exporters write them, in ONNX text."""

import numpy as np
import onnx
import onnx_ir as ir

from modelkit.model import Model
from tests.passes.harness import Feeds, normal

SIZE, WIDTH = 4, 3
"""Of the states, and of x."""

RNN = "a = MatMul(x, w) m = MatMul(h, r) s = Add(a, b) z = Add(s, m) h2 = Tanh(z)"
LSTM = """a = MatMul(x, w) m = MatMul(h, r) s = Add(a, m) z = Add(b, s)
i0, f0, g0, o0 = Split<axis = 1, num_outputs = 4>(z)
i = Sigmoid(i0) f = Sigmoid(f0) g = Tanh(g0) o = Sigmoid(o0)
fc = Mul(f, c) ig = Mul(i, g) c2 = Add(fc, ig) t = Tanh(c2) h2 = Mul(o, t)"""
GRU_BEFORE = """a = MatMul(x, w) s = Add(a, b) z0, r0, n0 = Split<axis = -1, num_outputs = 3>(s)
rzr = Slice(r, k0, k8, k1) rn = Slice(r, k8, k12, k1) m = MatMul(h, rzr)
mz = Slice(m, k0, k4, k1) mr = Slice(m, k4, k8, k1)
z1 = Add(z0, mz) u = Sigmoid(z1) r1 = Add(r0, mr) q = Sigmoid(r1)
qh = Mul(q, h) mn = MatMul(qh, rn) n1 = Add(n0, mn) n2 = Tanh(n1)
rest = Sub(one, u) fresh = Mul(rest, n2) old = Mul(u, h) h2 = Add(old, fresh)"""
GRU_AFTER = """a = MatMul(x, w) s = Add(a, b) z0, r0, n0 = Split<axis = -1, num_outputs = 3>(s)
m0 = MatMul(h, r) m = Add(m0, b2) mz, mr, mn = Split<axis = -1, num_outputs = 3>(m)
z1 = Add(z0, mz) u = Sigmoid(z1) r1 = Add(r0, mr) q = Sigmoid(r1)
qm = Mul(mn, q) n1 = Add(n0, qm) n2 = Tanh(n1)
rest = Sub(one, u) fresh = Mul(n2, rest) old = Mul(h, u) h2 = Add(fresh, old)"""
GATES = {RNN: 1, LSTM: 4, GRU_BEFORE: 3, GRU_AFTER: 3}

_TEXT = """<ir_version: 10, opset_import: ["": 18]>
g (float[n, s, {width}] given, float[n, {size}] h0, float[n, {size}] c0)
=> (float[s, n, {size}] y, float[n, {size}] end)
<int64 zero = {{0}}, int64 step = {{1}}, float one = {{1}}, int64[1] k0 = {{0}}, int64[1] k1 = {{1}},
 int64[1] k4 = {{4}}, int64[1] k8 = {{8}}, int64[1] k12 = {{12}}, float low = {{0}},
 float top = {{6}}, float sixth = {{0.16666667}}, float fifth = {{0.2}}, float half = {{0.5}},
 float three = {{3}}, float[1] ones = {{1}}> {{
  seq = Transpose<perm = [1, 0, 2]>(given) shape = Shape(seq) dim = Gather(shape, zero)
  limit = Identity(dim) go = Less(zero, dim)
  {before}
  times, end, {memory} {kept} y = Loop({limit}, go, zero, h0{carried}) <
    body = turn (int64 no, bool going, int64 at, float[n, {size}] h{states})
    => (bool on, int64 at2, float[n, {size}] h2{nexts}, float[n, {size}] stacked) {{
      x = Gather<axis = 0>(seq, at) at2 = Add(at, step) on = {on} {body}
      stacked = Identity({stacked})
    }}>
}}"""


def loop_text(
    body: str,
    *,
    memory: bool = False,
    before: str = "",
    limit: str = "limit",
    on: str = "Less(at2, dim)",
    stacked: str = "h2",
    carried: str = "",
) -> str:
    """A Loop over ``given``; with ``carried``, a value that it hands on unchanged as ``held``."""
    state = f", float[n, {SIZE}] "
    return _TEXT.format(
        body=body, before=before, limit=limit, on=on, stacked=stacked, size=SIZE, width=WIDTH,
        memory="ends," if memory else "",
        kept="same," if carried else "",
        carried=(", c0" if memory else "") + (f", {carried}" if carried else ""),
        states=(f"{state}c" if memory else "") + (", float[k, l] held" if carried else ""),
        nexts=(f"{state}c2" if memory else "") + (", float[k, l] held" if carried else ""),
    )  # fmt: skip


def loop_model(text: str, gates: int, seed: int = 0) -> Model:
    """The model of ``text`` with random weights w, r, b and b2 of so many gates."""
    proto = onnx.parser.parse_model(text)
    shapes = {"w": (WIDTH, gates * SIZE), "r": (SIZE, gates * SIZE),
              "b": (gates * SIZE,), "b2": (gates * SIZE,)}  # fmt: skip
    random = np.random.default_rng(seed)
    for name, shape in shapes.items():
        array = random.normal(size=shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    for number, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    return ir.serde.deserialize_model(proto)


def feeds(batch: int, length: int) -> Feeds:
    """Inputs, with states that are not zero."""
    return {
        "given": normal(batch, length, WIDTH),
        "h0": normal(batch, SIZE, seed=1),
        "c0": normal(batch, SIZE, seed=2),
    }
