from modelkit.runtime.kernels import has_kernel


def test_kernels_by_domain_and_version() -> None:
    assert has_kernel("", "Relu", 14)
    assert has_kernel("ai.onnx", "Relu", 14)
    assert has_kernel("ai.onnx.ml", "TreeEnsembleClassifier", 3)
    assert not has_kernel("", "Relu", 5)
    assert not has_kernel("com.example", "Relu", 14)
