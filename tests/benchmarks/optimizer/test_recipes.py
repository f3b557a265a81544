"""The zoo's inputs and weights are what its recipes say."""

import numpy as np
import pytest
import torch

from tests.benchmarks.optimizer.recipes import Input, Recipe, feeds_of, perturbed
from tests.benchmarks.optimizer.zoo import recipes_of

RECIPES = recipes_of(full=False)


def test_feeds_have_the_shapes_and_masks_asked_for() -> None:
    inputs = (
        Input("ids", ("batch", "tokens"), high=7),
        Input("end", ("batch", "tokens"), mask="end"),
        Input("front", ("batch", "tokens"), mask="front"),
        Input("x", ("batch", 3)),
    )
    found = feeds_of(Recipe("r", None, inputs, (), ()), {"batch": 2, "tokens": 4})
    assert found["ids"].shape == (2, 4) and found["ids"].dtype == np.int64
    assert found["ids"].max() < 7
    assert found["end"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert found["front"].tolist() == [[1, 1, 1, 1], [0, 1, 1, 1]]
    assert found["x"].shape == (2, 3) and found["x"].dtype == np.float32


def test_no_bias_gain_or_statistic_stays_where_a_slimmer_would_delete_it() -> None:
    module = perturbed(torch.nn.Sequential(torch.nn.Conv2d(2, 4, 1), torch.nn.BatchNorm2d(4)))
    norm = module[1]
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert not torch.any((value == 0) | (value == 1))
    assert torch.all(norm.running_var > 0)
    assert not module.training


def test_the_zoo_has_the_families_it_promises() -> None:
    names = [recipe.name for recipe in RECIPES]
    assert len(set(names)) == len(names) >= 20


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_axis_has_a_size_in_every_test_input(recipe: Recipe) -> None:
    axes = {axis for port in recipe.inputs for axis in port.shape if isinstance(axis, str)}
    assert recipe.sizes
    for sizes in recipe.sizes:
        assert axes <= set(sizes)
        assert sizes.get("total", 0) == sizes.get("past", 0) + sizes.get("tokens", 0) or (
            "total" not in sizes
        )
