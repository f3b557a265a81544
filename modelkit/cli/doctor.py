"""``modelkit doctor``."""

from modelkit.cli.execute import execute
from modelkit.cli.groups import Manner


def doctor(manner: Manner) -> None:
    """Show what this machine and installation can really do.

    Example: modelkit doctor
    """
    execute("doctor", {}, manner)
