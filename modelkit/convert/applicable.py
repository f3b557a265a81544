"""Which options mean something for which formats; an option without effect is an error."""

from modelkit.convert.frameworks import FRAMEWORKS
from modelkit.convert.source import Options
from modelkit.errors import UsageError

_WEIGHTS = ("torch", "torch-legacy", "safetensors", "torch-shards", "torchscript")
_FOLDERS = ("transformers", "sentence-transformers", "peft")
_GRAPHS = ("frozen-graph", "meta-graph")
_TENSORFLOW = ("saved-model", *_GRAPHS, "tflite", "keras", "keras-h5")
_TABLES = (
    "sklearn-pickle", "xgboost-pickle", "lightgbm-pickle", "catboost-pickle", "pickle", "skops",
    "xgboost", "lightgbm", "catboost", "libsvm",
)  # fmt: skip
_FUNCTIONS = ("jax", "flax")

# Field of Options to how it is typed, and the formats that know it.
_KNOWN: dict[str, tuple[str, tuple[str, ...]]] = {
    "double": ("--double", _TABLES),
    "inputs": ("--inputs", _GRAPHS),
    "outputs": ("--outputs", _GRAPHS),
    "dtype": ("--dtype", (*_WEIGHTS, *_FOLDERS)),
    "translations": ("--translations", (*_WEIGHTS, "pt2", *_FOLDERS)),
    "task": ("--task", (*_WEIGHTS, "transformers", "peft", "saved-model")),
    "model": ("--model", (*_WEIGHTS, *_FUNCTIONS)),
}
# Whose file does not tell all shapes; the others take them for --static-shapes alone.
_SHAPELESS = (*_WEIGHTS, *_TENSORFLOW, *_FUNCTIONS, "libsvm")


def refuse_without_effect(options: Options, kind: str) -> None:
    """Refuse options that the format ``kind``, a key of ``FRAMEWORKS``, would ignore.

    Raises:
        UsageError: naming the option and where it is known.
    """
    plain = Options()
    for field, (option, kinds) in _KNOWN.items():
        if getattr(options, field) != getattr(plain, field) and kind not in kinds:
            raise _ignored(option, kind, f"it is for: {_names(kinds)}")
    if options.input_shape and not options.static and kind not in _SHAPELESS:
        hint = "its file tells all shapes; to fix them add --static-shapes"
        raise _ignored("--input-shape", kind, hint)


def _ignored(option: str, kind: str, hint: str) -> UsageError:
    return UsageError(
        f"{option} means nothing for the format {FRAMEWORKS[kind].name}",
        hint=f"leave it out; {hint}",
        code="without-effect",
    )


def _names(kinds: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(FRAMEWORKS[kind].name for kind in kinds))
