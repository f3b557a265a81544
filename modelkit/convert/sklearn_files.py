"""Read scikit-learn models: skops archives without trust, pickles and joblib files with it."""

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import joblib

from modelkit.errors import BadInput, MissingExtra
from modelkit.runtime.user_code import working_folder_first
from modelkit.safe import safe

_MOST_NAMED = 4
_DTYPE = "numpy.dtype"
_LARGEST_SCHEMA = 64 << 20


def read_model(path: Path, name: str, *, trust: bool) -> tuple[Any, tuple[str, ...]]:
    """The estimator in ``path``, and notes on what the reader complained about.

    A pickle is loaded as it is: ``convert`` has asked for trust before.

    Raises:
        BadInput: skops knows a type in it as no harmless one and it is not trusted; or broken.
        MissingExtra: skops is not installed.
    """
    with warnings.catch_warnings(record=True) as caught, working_folder_first():
        warnings.simplefilter("always")
        try:
            model = _skops(path, trust) if name == "skops" else joblib.load(path)
        except (BadInput, MissingExtra):
            raise
        except ModuleNotFoundError as error:
            raise BadInput(
                f"{safe(str(path))} needs the Python module '{safe(str(error.name))}'",
                hint="install it, or run from the folder that holds it",
                code="code-missing",
            ) from None
        except Exception as error:  # a pickle raises any type
            raise BadInput(
                f"{safe(str(path))} could not be loaded",
                cause=safe(f"{type(error).__name__}: {error}", 300),
                hint="was it written by another version of scikit-learn, or cut off?",
                code="unreadable",
            ) from None
    return model, tuple(dict.fromkeys(_version_notes(caught)))


def _skops(path: Path, trust: bool) -> Any:
    try:
        import skops.io
    except ModuleNotFoundError:
        raise MissingExtra("reading skops files", "sklearn") from None
    unknown = skops.io.get_untrusted_types(file=path)
    feared = [kind for kind in unknown if kind != _DTYPE or not _plain_dtypes(path)]
    if feared and not trust:
        named = ", ".join(safe(kind, 80) for kind in feared[:_MOST_NAMED])
        raise BadInput(
            f"{safe(str(path))} holds types that are not known to be harmless",
            cause=named,
            hint="if you trust it, add --trust-source",
            code="untrusted",
        )
    return skops.io.load(path, trusted=unknown)


def _plain_dtypes(path: Path) -> bool:
    """Whether every numpy.dtype of a skops file is read off an array, as skops writes them.

    skops leaves the type to its user, because a file may ask for it to be made in other ways.
    """
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("schema.json").file_size > _LARGEST_SCHEMA:
            return False
        pending = [json.loads(archive.read("schema.json"))]
    while pending:
        held = pending.pop()
        if isinstance(held, list):
            pending += held
        elif isinstance(held, dict):
            pending += held.values()
            named = f"{held.get('__module__')}.{held.get('__class__')}"
            if named == _DTYPE and held.get("__loader__") != "DTypeNode":
                return False
    return True


def _version_notes(caught: list[warnings.WarningMessage]) -> list[str]:
    """One note where the estimator was saved by another version of scikit-learn."""
    for warning in caught:
        theirs = getattr(warning.message, "original_sklearn_version", None)
        if theirs is not None:
            mine = getattr(warning.message, "current_sklearn_version", "")
            return [f"saved by scikit-learn {safe(str(theirs), 20)}, read by {safe(str(mine), 20)}"]
    return []
