"""Networks whose time goes into linear layers of whole matrices: no sequences, no maps."""

from itertools import pairwise

import torch
from torch import nn

from tests.benchmarks.optimizer.recipes import Input, Recipe, perturbed


def alexnet(full: bool) -> torch.nn.Module:
    """AlexNet on one tower (Krizhevsky, 2014): 59 of its 61 million weights behind Flatten."""
    layers: list[nn.Module] = []
    for into, out, kernel, stride, pad, pooled in (
        (3, 64, 11, 4, 2, True),
        (64, 192, 5, 1, 2, True),
        (192, 384, 3, 1, 1, False),
        (384, 256, 3, 1, 1, False),
        (256, 256, 3, 1, 1, True),
    ):
        layers += [nn.Conv2d(into, out, kernel, stride, pad), nn.ReLU()]
        layers += [nn.MaxPool2d(3, 2)] if pooled else []
    layers += [nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return perturbed(nn.Sequential(*layers, nn.Linear(4096, 1000)))


def mlp(full: bool) -> torch.nn.Module:
    """Layers of 2048 as on tables of features, normalized over the batch."""
    layers: list[nn.Module] = []
    for into, out in pairwise((512, 2048, 2048, 2048)):
        layers += [nn.Linear(into, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(0.1)]
    return perturbed(nn.Sequential(*layers, nn.Linear(2048, 16)))


_SIZES = ({"batch": 1}, {"batch": 32}, {"batch": 3})

RECIPES = (
    Recipe("alexnet", alexnet, (Input("images", ("batch", 3, 224, 224)),), ("logits",), _SIZES),
    Recipe("mlp", mlp, (Input("features", ("batch", 512)),), ("scores",), _SIZES),
)
