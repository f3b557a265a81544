import pytest

from modelkit.passes.infer_symbols import infer_symbols
from tests.passes.harness import model_of, normal, run


def shape_of(node: str, rows: str = "h") -> str:
    model = model_of(
        f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[n, 4, {rows}, 32] x, float[8, 4, 3, 3] w, float[4, 8, 2, 2] u) => (float y)
        <float[4] double = {{1.0, 1.0, 2.0, 2.0}}, int64[4] sizes = {{1, 4, 7, 9}}> {{
          r = {node}
          y = Identity(r)
        }}"""
    )
    infer_symbols(model)
    return str(model.graph[0].outputs[0].shape)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("Conv<pads = [1, 1, 1, 1]>(x, w)", "[n,8,h,32]"),
        ("Conv(x, w)", "[n,8,h - 2,30]"),
        ("Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w)", "[n,8,Windows(h - 1, 2) + 0,16]"),
        ('Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w)', "[n,8,Windows(h - 1, 2),16]"),
        ("MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)", "[n,4,Windows(h - 2, 2),16]"),
        ("GlobalAveragePool(x)", "[n,4,1,1]"),
        ("Resize(x, , double)", "[n,4,2*h,64]"),
        ("Resize(x, , , sizes)", "[1,4,7,9]"),
        ("DepthToSpace<blocksize = 2>(x)", "[n,1,2*h,64]"),
    ],
)
def test_windows(node: str, expected: str) -> None:
    assert shape_of(node) == expected.replace(" + 0", "")


def test_static_sides_are_computed() -> None:
    assert shape_of("Conv<strides = [2, 2]>(x, w)", "33") == "[n,8,16,15]"
    assert shape_of("AveragePool<kernel_shape = [3, 3]>(x)", "33") == "[n,4,31,30]"


@pytest.mark.parametrize(
    ("attributes", "rows", "expected"),
    [
        ("", "h", "[n,8,h + 1,33]"),
        ("strides = [2, 2]", "h", "[n,8,2*h,64]"),
        ("strides = [3, 1], pads = [1, 0, 0, 1]", "5", "[n,8,13,32]"),
        ("strides = [2, 2], output_padding = [1, 0]", "7", "[n,8,15,64]"),
        ("dilations = [3, 2]", "7", "[n,8,10,34]"),
        ('auto_pad = "SAME_UPPER", strides = [2, 2]', "7", "[n,8,unk_0,unk_1]"),
        ("output_shape = [20, 70], strides = [2, 2]", "7", "[n,8,unk_0,unk_1]"),
    ],
)
def test_transposed_convolutions(attributes: str, rows: str, expected: str) -> None:
    node = f"ConvTranspose<{attributes}>(x, u)" if attributes else "ConvTranspose(x, u)"
    assert shape_of(node, rows) == expected
    if "unk" not in expected and rows != "h":
        text = f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[n, 4, {rows}, 32] x, float[4, 8, 2, 2] u) => (float[n, 8, p, q] y)
        {{ y = {node} }}"""
        (made,) = run(model_of(text), {"x": normal(2, 4, int(rows), 32), "u": normal(4, 8, 2, 2)})
        assert f"[n,8,{made.shape[2]},{made.shape[3]}]" == expected


@pytest.mark.parametrize(
    ("attributes", "rows", "expected"),
    [
        ("kernel_shape = [3, 3], strides = [2, 2]", "112", "[n,4,56,16]"),
        ("kernel_shape = [3, 3], strides = [2, 2]", "113", "[n,4,56,16]"),
        ("kernel_shape = [2, 2], strides = [1, 1]", "h", "[n,4,unk_0,31]"),
        # The last window would start behind the image: runtimes differ.
        ("kernel_shape = [2, 2], strides = [3, 3], pads = [1, 1, 1, 1]", "33", "[n,4,12,unk_0]"),
        ("kernel_shape = [1, 1], strides = [2, 2], pads = [0, 0, 1, 1]", "32", "[n,4,unk_0,unk_1]"),
    ],
)
def test_pools_that_round_up(attributes: str, rows: str, expected: str) -> None:
    node = f"MaxPool<{attributes}, ceil_mode = 1>(x)"
    found = shape_of(node, rows)
    assert found == expected
    if "unk" not in found:
        text = f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[n, 4, {rows}, 32] x) => (float[n, 4, p, q] y) {{ y = {node} }}"""
        (made,) = run(model_of(text), {"x": normal(2, 4, int(rows), 32)})
        assert f"[n,{','.join(map(str, made.shape[1:]))}]" == expected
