"""Run a verb in a child process, because a tiny file can kill onnx and ONNX Runtime by signal."""

from modelkit.worker.parent import Listener, run

__all__ = ["Listener", "run"]
