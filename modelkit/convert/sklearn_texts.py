"""scikit-learn's vectorizers of texts, in the words of ONNX Runtime's Tokenizer.

skl2onnx cuts texts by ``[a-zA-Z0-9_]+``: "café" becomes "caf", and "in a house" keeps its "a", so
that the pair "in house" is not found.  RE2, which ONNX Runtime uses, knows the letters of Unicode;
written for it, scikit-learn's own patterns cut the same words.
"""

import locale
import re
from collections.abc import Iterator, Sequence
from copy import copy
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from skl2onnx.common._registration import get_converter, register_converter
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.pipeline import FeatureUnion

from modelkit.convert.sklearn_trees import Container
from modelkit.errors import Unsupported
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

_WORD = r"\pL\pN_"  # what \w is to Python; RE2's own \w is ASCII
_WHOLE_RUNS = re.compile(r"\\b((?:\\w)*(?:\\w\+|\\w\{\d+,\}))\\b")
_UNICODE = "C.UTF-8"
_BETWEEN = (" ", " ", " ", ", ", ". ", "-", " a ", "'s ", "\n", "! ")
_OTHERS = ("neverseen", "Ünknöwn", "x", "7", "")
_MOST_WORDS = 20000
_WORDS_A_LINE = 64
_MOST_STOPPED = 20
_WEIGHTS = "SklearnTfidfTransformer"
_theirs: list[Any] = []


def vectorizers(first: Any) -> list[CountVectorizer]:
    """Those that the first step of a model consists of; empty where it takes no texts.

    Raises:
        Unsupported: words are told by a hash, which skl2onnx does not write.
    """
    if isinstance(first, HashingVectorizer):
        raise Unsupported(
            "a HashingVectorizer has no ONNX form here",
            hint="fit the model with a TfidfVectorizer or a CountVectorizer",
            code="export-failed",
        )
    if isinstance(first, CountVectorizer):
        return [first]
    parts = [part for _, part in first.transformer_list] if isinstance(first, FeatureUnion) else []
    texts = bool(parts) and all(isinstance(part, CountVectorizer) for part in parts)
    return parts if texts else []


def settings(part: CountVectorizer) -> dict[str, Any]:
    """skl2onnx's options for ``part``: how texts are cut, and the alphabet of small letters.

    Raises:
        Unsupported: no operator does what it does.
    """
    if callable(part.analyzer):
        raise Unsupported(
            "a Python function cuts the texts, which no ONNX operator does",
            cause=f"{type(part).__name__}(analyzer={getattr(part.analyzer, '__name__', '...')})",
            hint="fit it with analyzer='word' and a token_pattern",
            code="export-failed",
        )
    words = part.analyzer == "word"
    if words and part.ngram_range[1] > 1 and part.get_stop_words():
        raise Unsupported(
            "stop words are taken out before words are paired, which no ONNX operator does",
            cause=f"{type(part).__name__}(stop_words=..., ngram_range={part.ngram_range})",
            hint="fit it without stop words, or with ngram_range=(1, 1)",
            code="export-failed",
        )
    # Kept by older versions, which no transform reads; skl2onnx would leave out whole texts.
    vars(part).pop("stop_words_", None)
    pattern = expression(part.token_pattern) if words else "(?s)."
    return {"tokenexp": pattern, "locale": _UNICODE if _folds(part) and _installed() else "C"}


def expression(pattern: str) -> str:
    r"""A pattern of Python's ``re`` for RE2: ``\w`` by Unicode, no ``(?u)``.

    Boundaries around a whole run of letters go: the longest run is what matches.
    """
    bare = pattern.removeprefix("(?u)")
    if whole := _WHOLE_RUNS.fullmatch(bare):
        bare = whole.group(1)
    found, inside, place = [], False, 0
    while place < len(bare):
        part = bare[place : place + 2] if bare[place] == "\\" else bare[place]
        place += len(part)
        inside = (inside or part == "[") and part != "]"
        if part == r"\w":
            part = _WORD if inside else f"[{_WORD}]"
        found.append(part)
    return "".join(found)


def use_own_logarithm() -> None:
    """Let skl2onnx call our writer for ``sublinear_tf``.

    That is log(count) + 1; it writes log(count + 1), which tells once from twice too little.
    """
    if not _theirs:
        original = get_converter(_WEIGHTS)
        _theirs.append(original)
        options = original.get_allowed_options()
        register_converter(_WEIGHTS, _weigh, overwrite=True, options=options)


def _weigh(scope: Any, operator: Any, container: Any) -> None:
    part = operator.raw_operator
    if not part.sublinear_tf:
        _theirs[0](scope, operator, container)
        return
    nodes = Container(scope, container)
    given = operator.inputs[0]
    double = isinstance(given.type, DoubleTensorType)
    kind: type[np.floating] = np.float64 if double else np.float32
    counts = nodes.add("Cast", given.full_name, to=11 if double else 1)
    zero, one = nodes.constant(np.zeros(1, kind)), nodes.constant(np.ones(1, kind))
    none = nodes.add("Equal", counts, zero)
    damped = nodes.add("Where", none, zero, nodes.add("Add", nodes.add("Log", counts), one))
    rest = copy(part)
    rest.sublinear_tf = False
    damping = SimpleNamespace(
        raw_operator=rest,
        inputs=operator.inputs,
        outputs=operator.outputs,
        input_full_names=[damped],
        output_full_names=operator.output_full_names,
    )
    _theirs[0](scope, damping, container)


def remarks(parts: Sequence[CountVectorizer]) -> Iterator[str]:
    """What the user should know of texts that the result takes otherwise than scikit-learn."""
    if any(part.analyzer != "word" for part in parts):
        yield (
            "characters: scikit-learn takes a run of spaces for one space, the result does not;"
            " join them before"
        )
    if not any(_folds(part) for part in parts):
        return
    if not _installed():
        yield f"capitals beyond ASCII stay as they are: the locale {_UNICODE} is not here"
        return
    yield (
        f"its vocabulary goes beyond ASCII: it needs the locale {_UNICODE} where it runs"
        " (Linux and macOS have it)"
    )
    lost = sorted({word for part in parts for word in part.vocabulary_ if not _returns(word)})
    if lost:
        told = safe(", ".join(lost[:3]), 80)
        yield f"words it does not know in capitals: {len(lost)} of its vocabulary, as {told}"


def trials(parts: Sequence[CountVectorizer], seed: int = 0) -> tuple[Feeds, ...]:
    """One text, several, and texts of the whole vocabulary, 20000 words at most."""
    return tuple({"text": np.array(lines, dtype=object)} for lines in lines_for(parts, seed))


def lines_for(parts: Sequence[CountVectorizer], seed: int = 0) -> tuple[list[str], ...]:
    """Lines of known and unknown words, in capitals and small, with what stands between words."""
    random = np.random.default_rng(seed)
    whole = [word for part in parts for word in sorted(part.vocabulary_)]
    stopped = [word for part in parts for word in sorted(part.get_stop_words() or ())]
    others = [*_OTHERS, *stopped[:: max(len(stopped) // _MOST_STOPPED, 1)]]
    capitals = [w for w in [*whole, *others] if _returns(w) and (w.isascii() or _installed())]

    def one_of(words: Sequence[str]) -> str:
        return words[int(random.integers(0, len(words)))]

    def line(count: int) -> str:
        text = ""
        for chance in random.integers(0, 4, count):
            text += one_of(others if chance == 0 else whole) + one_of(_BETWEEN)
            text += one_of(capitals).upper() + " " if chance == 1 else ""
        return text

    first = [line(int(random.integers(1, 12)))]
    several = ["", *(line(int(n)) for n in random.integers(1, 12, 40))]
    chosen = random.permutation(len(whole))[:_MOST_WORDS]
    starts = range(0, len(chosen), _WORDS_A_LINE)
    everything = [" ".join(whole[i] for i in chosen[n : n + _WORDS_A_LINE]) for n in starts]
    drawn = (first, several, everything)
    if any(part.analyzer != "word" for part in parts):
        return tuple([re.sub(r"\s\s+", " ", text) for text in lines] for lines in drawn)
    return drawn


def _folds(part: CountVectorizer) -> bool:
    """Whether letters beyond ASCII are made small and then looked for."""
    return bool(part.lowercase) and not all(word.isascii() for word in part.vocabulary_)


def _returns(word: str) -> bool:
    """Whether a word in capitals is made the same small letter by letter: no Σ at its end."""
    return "".join(letter.lower() for letter in word.upper()) == word


@cache
def _installed() -> bool:
    now = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, _UNICODE)
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_CTYPE, now)
    return True
