"""``modelkit inspect``."""

from modelkit.cli import options
from modelkit.cli.execute import Manner, execute


def inspect(
    source: options.Source,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    timeout: options.Timeout = None,
    memory_limit: options.MemoryLimit = None,
) -> None:
    """Show what a model file holds, without reading its weights.

    Example: modelkit inspect model.onnx
    """
    manner = Manner(json, quiet, verbose, timeout, memory_limit)
    execute("inspect", {"path": source}, manner)
