import bz2
import collections
import lzma
import os
import pickle
import zlib

import pytest

from modelkit.convert.pickles import global_names, is_pickle, modules, owner, unwrapped


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_modules_of_a_pickle_are_read_without_running_it(protocol: int) -> None:
    data = pickle.dumps([collections.OrderedDict(), Bomb()], protocol)
    assert is_pickle(data)
    assert modules(data) == ["collections", os.system.__module__]
    assert f"{os.system.__module__}.system" in global_names(data)


def test_pickles_that_follow_one_another_are_all_read() -> None:
    data = pickle.dumps(1) + pickle.dumps(collections.OrderedDict())
    assert global_names(data) == ["collections.OrderedDict"]


def test_what_came_before_a_break_stands() -> None:
    data = b"\x80\x02cnumpy\nndarray\n\xff\xff\xff"
    assert modules(data) == ["numpy"]


@pytest.mark.parametrize("compress", [zlib.compress, bz2.compress, lzma.compress])
def test_compressed_pickles_are_unwrapped(compress: object) -> None:
    assert callable(compress)
    data = pickle.dumps({"a": 1})
    assert unwrapped(compress(data)) == data
    assert unwrapped(data) == b""


def test_a_compression_bomb_is_cut() -> None:
    assert len(unwrapped(zlib.compress(b"\0" * (50 << 20)))) == 1 << 20


def test_the_owner_is_the_library_that_made_the_estimator() -> None:
    text = b"\x80\x02csklearn.pipeline\nPipeline\nclightgbm.sklearn\nLGBMClassifier\n."
    assert owner(text) == ("lightgbm-pickle", ["sklearn", "lightgbm"])
