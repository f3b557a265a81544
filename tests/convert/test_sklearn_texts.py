from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline

from modelkit.convert import sklearn_texts
from modelkit.convert.sklearn_texts import expression, lines_for, settings, vectorizers
from modelkit.errors import Unsupported
from tests.convert.tables import converted
from tests.models import run

TEXTS = (
    "The quick brown fox doesn't jump over the lazy dog!",
    "I have a dream, in a house of e-mail",
    "Élan vital über ALLES: ÜBER-mensch naïve café café café",
    "连絡 見学 日本語 テスト ok",
    "pokémon José POKÉMON, go go go 4.5% foo_bar",
)
UNSEEN = (*TEXTS, "", "a", "in the house", "CAFÉ x café", "the  quick\n\tBrown. fox", "日本語!")


@pytest.mark.parametrize(
    "part",
    [
        CountVectorizer(),
        CountVectorizer(ngram_range=(1, 3)),
        CountVectorizer(binary=True, lowercase=False),
        CountVectorizer(stop_words="english"),
        CountVectorizer(token_pattern=r"(?u)\b\w+\b"),
        CountVectorizer(token_pattern=r"[\w'-]+"),
        TfidfVectorizer(token_pattern=r"\b[a-z]{3,}\b"),
        TfidfVectorizer(sublinear_tf=True, norm=None),
        TfidfVectorizer(norm="l1", use_idf=False, ngram_range=(2, 2)),
        make_pipeline(CountVectorizer(), TfidfTransformer(sublinear_tf=True)),
    ],
    ids=str,
)
def test_texts_are_cut_as_by_scikit_learn(part: Any, tmp_path: Path) -> None:
    part.fit(TEXTS)
    report, output = converted(part, tmp_path)
    assert report.verification.passed
    found = run(output, {"text": np.array(UNSEEN, dtype=object)})["transformed"]
    np.testing.assert_allclose(found, part.transform(UNSEEN).toarray(), atol=1e-6)


def test_words_and_characters_beside_each_other(tmp_path: Path) -> None:
    both = FeatureUnion(
        [("w", TfidfVectorizer()), ("c", CountVectorizer(analyzer="char", ngram_range=(2, 3)))]
    )
    model = make_pipeline(both, LogisticRegression()).fit(TEXTS, [0, 1, 0, 1, 0])
    report, output = converted(model, tmp_path)
    assert any("a run of spaces" in note for note in report.notes)
    single = [text for text in UNSEEN if "  " not in text]
    found = run(output, {"text": np.array(single, dtype=object)})
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(single), atol=1e-6)


def test_words_that_are_taken_out_of_pairs_are_refused(tmp_path: Path) -> None:
    part = CountVectorizer(stop_words="english", ngram_range=(1, 2)).fit(TEXTS)
    with pytest.raises(Unsupported, match="before words are paired") as caught:
        converted(part, tmp_path)
    assert "ngram_range=(1, 1)" in caught.value.hint


def test_functions_are_refused() -> None:
    with pytest.raises(Unsupported, match="Python function") as caught:
        settings(CountVectorizer(analyzer=str.split).fit(TEXTS))
    assert "analyzer=split" in str(caught.value.cause)


def test_hashes_are_refused(tmp_path: Path) -> None:
    model = make_pipeline(HashingVectorizer(n_features=8), LogisticRegression())
    with pytest.raises(Unsupported, match="HashingVectorizer"):
        converted(model.fit(TEXTS, [0, 1, 0, 1, 0]), tmp_path)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"(?u)\b\w\w+\b", r"[\pL\pN_][\pL\pN_]+"),
        (r"\b\w{3,}\b", r"[\pL\pN_]{3,}"),
        (r"\b\w{2,5}\b", r"\b[\pL\pN_]{2,5}\b"),
        (r"[\w.-]+\]\d", r"[\pL\pN_.-]+\]\d"),
        (r"\S+", r"\S+"),
    ],
)
def test_patterns_of_python_for_re2(pattern: str, expected: str) -> None:
    assert expression(pattern) == expected


def test_the_alphabet_is_asked_for_only_where_words_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, accents = CountVectorizer().fit(["to be"]), CountVectorizer().fit(["être"])
    monkeypatch.setattr(sklearn_texts, "_installed", lambda: True)
    assert settings(plain)["locale"] == "C"
    assert settings(accents)["locale"] == "C.UTF-8"
    assert list(sklearn_texts.remarks([plain])) == []
    assert "C.UTF-8 where it runs" in " ".join(sklearn_texts.remarks([accents]))
    greek = CountVectorizer().fit(["λόγος"])
    assert "in capitals: 1 of its vocabulary, as λόγος" in " ".join(sklearn_texts.remarks([greek]))
    monkeypatch.setattr(sklearn_texts, "_installed", lambda: False)
    assert settings(accents)["locale"] == "C"
    assert "is not here" in " ".join(sklearn_texts.remarks([accents]))


def test_what_older_versions_kept_does_not_leave_out_texts() -> None:
    part = CountVectorizer().fit(["to be"])
    part.stop_words_ = {"to be"}
    settings(part)
    assert not hasattr(part, "stop_words_")


def test_the_lines_hold_the_whole_vocabulary_and_the_stop_words() -> None:
    part = CountVectorizer(stop_words=["the"]).fit([f"the word{n}" for n in range(300)])
    first, several, everything = lines_for([part])
    assert len(first) == 1
    assert "" in several
    assert _words(everything) == set(part.vocabulary_)
    assert "the" in _words(several)


def test_only_a_first_step_of_texts_takes_texts() -> None:
    assert vectorizers(LogisticRegression()) == []
    mixed = FeatureUnion([("w", TfidfVectorizer()), ("other", LogisticRegression())])
    assert vectorizers(mixed) == []


def _words(lines: Sequence[str]) -> set[str]:
    return {word.strip(",.!-") for line in lines for word in line.split()}
