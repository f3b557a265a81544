"""Which options mean something for which formats; an option without effect is an error."""

from modelkit.convert.frameworks import Framework
from modelkit.convert.source import Options
from modelkit.errors import UsageError

# Field of Options to how it is typed, and the extras whose formats know it.
_KNOWN: dict[str, tuple[str, tuple[str, ...]]] = {
    "double": ("--double", ("sklearn", "boost", "svm")),
    "inputs": ("--inputs", ("tf",)),
    "outputs": ("--outputs", ("tf",)),
    "dtype": ("--dtype", ("torch", "hf", "peft")),
    "translations": ("--translations", ("torch", "hf", "peft")),
    "task": ("--task", ("hf", "tf", "peft", "torch")),
}


def refuse_without_effect(options: Options, row: Framework) -> None:
    """Refuse options that the format of ``row`` would ignore.

    Raises:
        UsageError: naming the option and where it is known.
    """
    plain = Options()
    for field, (option, extras) in _KNOWN.items():
        if getattr(options, field) != getattr(plain, field) and row.extra not in extras:
            raise UsageError(
                f"{option} means nothing for the format {row.name}",
                hint=f"leave it out; it is for the formats of: {', '.join(extras)}",
                code="without-effect",
            )
