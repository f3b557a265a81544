"""``modelkit doctor``."""

from modelkit.cli import options
from modelkit.cli.execute import Manner, execute


def doctor(
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    timeout: options.Timeout = None,
) -> None:
    """Show what this machine and installation can really do.

    Example: modelkit doctor
    """
    execute("doctor", {}, Manner(json, quiet, verbose, timeout))
