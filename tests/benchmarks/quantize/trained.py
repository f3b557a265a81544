"""Subjects trained here within seconds to minutes, always from the same seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from tests.benchmarks.quantize import nets, pictures
from tests.benchmarks.quantize.parts import Parts
from tests.benchmarks.quantize.pictures import Rows

_Net = TypeVar("_Net", bound=nn.Module)
_CALIBRATION = 256
_BATCH = 16
_LOUD = 50.0
_OUTLIERS = 3


def cnn(kept: Path) -> Parts:
    """17 convolutions, residual and depthwise, on augmented digits."""
    data = pictures.digits(32)
    return _parts(_trained(nets.Cnn(), data, kept / "cnn.pt", epochs=14), data)


def cnn_unbalanced(kept: Path) -> Parts:
    """The same function, channels of two pairs of convolutions scaled by 2 ** U(-4, 4)."""
    data = pictures.digits(32)
    net = _trained(nets.Cnn(), data, kept / "cnn.pt", epochs=14)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for block in (net.first, net.second):
            s = 2 ** (8 * torch.rand(block.norm.num_features, generator=random) - 4)
            block.norm.weight.mul_(s)
            block.norm.bias.mul_(s)
            block.two.weight.div_(s.reshape(1, -1, 1, 1))
    return _parts(net, data)


def vit(kept: Path) -> Parts:
    """A vision transformer of 4 layers, 64 wide."""
    data = pictures.digits(32)
    return _parts(_trained(nets.Vit(), data, kept / "vit.pt", epochs=15), data)


def vit_outliers(kept: Path) -> Parts:
    """The same function, three channels of every normalization 50 times as large."""
    data = pictures.digits(32)
    net = _trained(nets.Vit(), data, kept / "vit.pt", epochs=15)
    with torch.no_grad():
        for layer in net.layers:
            for norm, linear in ((layer.norm1, layer.qkv), (layer.norm2, layer.up)):
                norm.weight[:_OUTLIERS] *= _LOUD
                norm.bias[:_OUTLIERS] *= _LOUD
                linear.weight[:, :_OUTLIERS] /= _LOUD
    return _parts(net, data)


def lstm(kept: Path) -> Parts:
    """Two bidirectional layers over the rows of the pictures."""
    data = pictures.digits(32)
    return _parts(_trained(nets.Recurrent(nn.LSTM), data, kept / "lstm.pt", epochs=15), data)


def gru(kept: Path) -> Parts:
    """Two bidirectional layers over the rows of the pictures."""
    data = pictures.digits(32)
    return _parts(_trained(nets.Recurrent(nn.GRU), data, kept / "gru.pt", epochs=15), data)


def mlp_cancer(kept: Path) -> Parts:
    """30 raw measurements of breast cancers, standardized inside the graph."""
    data = pictures.cancer()
    net = nets.Mlp(data.train, (64, 32), 2)
    return _parts(_trained(net, data, kept / "mlp_cancer.pt", epochs=60), data)


def mlp_digits(kept: Path) -> Parts:
    """64 grey values, standardized inside the graph."""
    data = pictures.flat_digits()
    net = nets.Mlp(data.train, (128, 64), 10)
    return _parts(_trained(net, data, kept / "mlp_digits.pt", epochs=60), data)


def _trained(net: _Net, data: Rows, kept: Path, *, epochs: int, rate: float = 3e-3) -> _Net:
    """``net`` trained; weights that lie in ``kept`` from before are taken instead."""
    if kept.is_file():
        net.load_state_dict(torch.load(kept, weights_only=True))
        net.eval()
        return net
    torch.manual_seed(0)
    for layer in net.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    steps = epochs * -(-len(data.train) // 64)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    random = np.random.default_rng(0)
    net.train()
    for _ in range(epochs):
        x, y = data.epoch(random)
        for part in np.array_split(random.permutation(len(x)), -(-len(x) // 64)):
            loss = nn.functional.cross_entropy(
                net(torch.from_numpy(x[part])), torch.from_numpy(y[part]), label_smoothing=0.05
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    torch.save(net.state_dict(), kept)
    net.eval()
    return net


def _parts(net: nn.Module, data: Rows) -> Parts:
    with torch.no_grad():
        found = np.concatenate(
            [net(torch.from_numpy(part)).argmax(1).numpy() for part in _batches(data.test)]
        )
    score = float((found == data.test_labels).mean())
    x, _ = data.epoch(np.random.default_rng(1))
    return Parts(
        net,
        [{"x": part} for part in _batches(x[:_CALIBRATION], 1)],
        [{"x": part} for part in _batches(data.test)],
        {"x": data.test[:1]},
        data.test_labels,
        score=score,
    )


def _batches(rows: np.ndarray, size: int = _BATCH) -> Sequence[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
