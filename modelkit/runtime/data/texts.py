"""Token ids out of texts, with the tokenizer that lies beside the model."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from modelkit.errors import BadInput, MissingExtra, UsageError
from modelkit.runtime.data.settings import Preprocessing
from modelkit.runtime.ports import Port
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

Text = str | tuple[str, str]
"""A text, or a pair of texts."""

_SANE_LENGTH = 1_000_000  # tokenizer files write 1e30 for "no limit"


def tokenized(
    texts: Iterable[Text],
    inputs: Sequence[Port],
    folder: Path | None,
    settings: Preprocessing,
    *,
    batch: int,
    path: Path,
) -> Iterator[Feeds]:
    """Feeds of ``batch`` texts each, made as they are asked for.

    Raises:
        BadInput: no text, or no usable tokenizer beside the model.
        MissingExtra: the tokenizers library is not installed.
        UsageError: an input that texts give no value for.
    """
    rest = iter(texts)
    rows = list(islice(rest, batch))
    if not rows:
        raise BadInput(f"{safe(str(path))} holds no text")
    tokenizer = _tokenizer(folder, settings)
    while rows:
        try:
            encoded = tokenizer.encode_batch(rows)
        except Exception as error:
            raise BadInput(
                f"{safe(str(path))}: the tokenizer refuses a text", cause=safe(str(error), 200)
            ) from None
        yield {port.name: _column(port, encoded) for port in inputs}
        rows = list(islice(rest, batch))


def _column(port: Port, rows: Sequence[Any]) -> np.ndarray:
    columns = {
        "input_ids": "ids",
        "attention_mask": "attention_mask",
        "token_type_ids": "type_ids",
    }
    if port.name not in columns:
        raise UsageError(
            f"texts give no value for input '{safe(port.name)}'",
            hint="give arrays instead, as .npz",
        )
    values = [getattr(row, columns[port.name]) for row in rows]
    if len({len(value) for value in values}) > 1:
        raise UsageError(
            "texts of different length in one batch need padding",
            hint="use --padding longest, or --batch 1",
        )
    return np.array(values, dtype=port.dtype)


def _tokenizer(folder: Path | None, settings: Preprocessing) -> Any:
    file = folder / "tokenizer.json" if folder is not None else None
    if file is None or not file.is_file():
        raise BadInput(
            "texts need a tokenizer, and there is no tokenizer.json beside the model",
            hint="copy it there; `modelkit convert` of a Hugging Face folder does",
        )
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise MissingExtra("reading texts", "text") from None
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        raise BadInput(
            f"{safe(str(file))} is not a usable tokenizer", cause=safe(str(error), 300)
        ) from None
    _limit(tokenizer, file.with_name("tokenizer_config.json"), settings)
    return tokenizer


def _limit(tokenizer: Any, config: Path, settings: Preprocessing) -> None:
    """Set truncation and padding, as asked for or as the tokenizer's files say."""
    longest = settings.max_length or (tokenizer.truncation or {}).get("max_length")
    longest = longest or _model_length(config)
    if settings.truncation and longest:
        tokenizer.enable_truncation(longest)
    else:
        tokenizer.no_truncation()
    held = tokenizer.padding or {}
    token = {key: held[key] for key in ("pad_id", "pad_token", "pad_type_id") if key in held}
    token = token or _pad_token(tokenizer, config)
    if settings.padding == "none":
        tokenizer.no_padding()
    elif settings.padding == "max_length":
        if not longest:
            raise UsageError("--padding max_length needs a --max-length")
        tokenizer.enable_padding(length=longest, **token)
    else:
        tokenizer.enable_padding(**token)


def _config(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _model_length(file: Path) -> int | None:
    length = _config(file).get("model_max_length")
    return int(length) if isinstance(length, int) and 0 < length < _SANE_LENGTH else None


def _pad_token(tokenizer: Any, file: Path) -> dict[str, Any]:
    token = _config(file).get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    number = tokenizer.token_to_id(token) if isinstance(token, str) else None
    return {} if number is None else {"pad_id": number, "pad_token": token}
