"""modelkit: a trained model from any framework to a small, fast, verified ONNX model."""

__version__ = "0.1.0"
