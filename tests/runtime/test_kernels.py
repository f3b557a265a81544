from modelkit.runtime.kernels import has_kernel


def test_kernels_by_domain_and_version() -> None:
    assert has_kernel("", "Relu", 14)
    assert has_kernel("ai.onnx", "Relu", 14)
    assert has_kernel("ai.onnx.ml", "TreeEnsembleClassifier", 3)
    assert not has_kernel("", "Relu", 5)
    assert not has_kernel("com.example", "Relu", 14)


def test_a_range_without_an_end_is_one_form() -> None:
    assert has_kernel("", "RoiAlign", 16)
    assert not has_kernel("", "RoiAlign", 22)
