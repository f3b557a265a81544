"""Exports the small networks that half-precision converters go wrong on, as ONNX text.

    python -m tests.precision.export_lab

writes ``lab/<name>.<exporter>.txt`` beside this file, which the tests read, so that they need no
torch.  Weights of more than 64 values are left out; the tests draw them.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.printer
import torch
from torch import nn
from torch.nn import functional

FOLDER = Path(__file__).with_name("lab")
_INLINE = 64


class TinyVariance(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(64, 64), nn.LayerNorm(64, eps=1e-12)

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(self.layer(x) * 1e-5)


class LargeNorm(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(64, 64), nn.LayerNorm(64)

    def forward(self, x: torch.Tensor) -> Any:
        return self.norm(self.layer(x) * 1500)


class LargeRms(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.gain = nn.Linear(64, 64), nn.Parameter(torch.ones(64))

    def forward(self, x: torch.Tensor) -> Any:
        x = self.layer(x) * 700
        variance = x.float().pow(2).mean(-1, keepdim=True)
        return (x * torch.rsqrt(variance + 1e-6)).type_as(x) * self.gain


class Upscale(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> Any:
        return functional.interpolate(
            self.layer(x), scale_factor=2.0, mode="bilinear", align_corners=False
        )


class Largest(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 100)

    def forward(self, x: torch.Tensor) -> Any:
        values, places = torch.topk(self.layer(x), 5)
        return values, places


class Counter(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> Any:
        places = torch.arange(x.shape[0] * 3000, dtype=torch.float32, device=x.device)
        return self.layer(x).sum() + places[-1] * 1e-3, places


class Masked(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> Any:
        scores = self.layer(x) @ x.transpose(1, 2)
        scores = scores + (1 - mask[:, None, :].float()) * torch.finfo(torch.float32).min
        return scores.softmax(-1) @ x


class Casts(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor, i: torch.Tensor) -> Any:
        return self.layer(x) * (i > 2).float() + i.to(torch.float32)


class Condition(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> Any:
        return torch.cond(
            x.sum() > 0, lambda x: self.a(x) * 2, lambda x: torch.relu(self.b(x)), (x,)
        )


class Double(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16).double()

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x).cumsum(-1)


class LargeConstants(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)
        self.register_buffer("large", torch.full((16,), 1e6))
        self.register_buffer("tiny", torch.full((16,), 1e-6))

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x) * self.large * self.tiny + (x / (self.tiny * 1e-3)) * 1e-9


class TinyWeights(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)
        self.layer.weight.data *= 1e-8

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x) * 1e8


class LargeSums(nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> Any:
        return x.sum((1, 2, 3)), x.mean((1, 2, 3)), (x * x).sum(1).sqrt()


class Repeated(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, n: int) -> Any:
        for _ in range(n):
            x = torch.tanh(self.layer(x))
        return x


def networks() -> Iterator[tuple[str, nn.Module, tuple[torch.Tensor, ...]]]:
    """Name, network, sample inputs."""
    rows, words = torch.randn(2, 16), torch.randn(2, 8, 16)
    yield "tiny_variance", TinyVariance(), (torch.randn(2, 8, 64),)
    yield "large_norm", LargeNorm(), (torch.randn(2, 8, 64),)
    yield "large_rms", LargeRms(), (torch.randn(2, 8, 64),)
    yield "upscale", Upscale(), (torch.randn(1, 3, 16, 16),)
    yield "largest", Largest(), (rows,)
    yield "counter", Counter(), (rows,)
    yield "masked", Masked(), (words, torch.tensor([[1] * 5 + [0] * 3] * 2))
    yield "casts", Casts(), (rows, torch.arange(16)[None].repeat(2, 1))
    yield "condition", Condition(), (rows,)
    yield "double", Double(), (rows.double(),)
    yield "large_constants", LargeConstants(), (rows,)
    yield "tiny_weights", TinyWeights(), (rows,)
    yield "large_sums", LargeSums(), (torch.rand(1, 64, 64, 64),)


def text_of(model: onnx.ModelProto) -> str:
    """The model as text that ``tests.models.parsed`` reads, without names only torch needs."""
    _rename(model.graph, {}, count())
    del model.graph.value_info[:]
    model.ClearField("metadata_props")
    _strip(model.graph)
    for tensor in list(model.graph.initializer):
        if np.prod(tensor.dims) > _INLINE and tensor.data_type in (1, 11):
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            model.graph.value_info.append(value)
            model.graph.initializer.remove(tensor)
    return str(onnx.printer.to_text(model)) + "\n"


def _strip(graph: onnx.GraphProto) -> None:
    graph.ClearField("doc_string")
    graph.ClearField("metadata_props")
    for value in (*graph.input, *graph.output):
        value.ClearField("metadata_props")
    for tensor in graph.initializer:
        tensor.ClearField("doc_string")
        tensor.ClearField("metadata_props")
    for node in graph.node:
        for field in ("name", "doc_string", "metadata_props"):
            node.ClearField(field)
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            if attribute.HasField("g"):
                del attribute.g.value_info[:]
                _strip(attribute.g)


def _rename(graph: onnx.GraphProto, outer: dict[str, str], numbers: Iterator[int]) -> None:
    names = dict(outer)

    def new(name: str) -> str:
        if name and name not in names:
            names[name] = f"v{next(numbers)}"
        return names.get(name, "")

    graph.name = f"g{next(numbers)}"
    for value in (*graph.input, *graph.initializer):
        value.name = new(value.name)
    for node in graph.node:
        node.input[:] = [new(name) for name in node.input]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names, numbers)
        node.output[:] = [new(name) for name in node.output]
    for value in graph.output:
        value.name = new(value.name)


def main() -> None:
    """Export all."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    for name, network, inputs in networks():
        network.eval()
        program = torch.onnx.export(network, inputs, dynamo=True, opset_version=18, verbose=False)
        assert program is not None
        (FOLDER / f"{name}.dynamo.txt").write_text(text_of(program.model_proto))
        if name != "condition":  # torch.cond has no TorchScript form
            file = io.BytesIO()
            torch.onnx.export(network, inputs, file, dynamo=False, opset_version=17)
            model = onnx.load_from_string(file.getvalue())
            (FOLDER / f"{name}.torchscript.txt").write_text(text_of(model))
    file = io.BytesIO()
    script = torch.jit.script(Repeated())
    inputs = (torch.randn(2, 8), torch.tensor(5))
    torch.onnx.export(script, inputs, file, dynamo=False, opset_version=17)
    text = text_of(onnx.load_from_string(file.getvalue()))
    (FOLDER / "repeated.torchscript.txt").write_text(text)


if __name__ == "__main__":
    main()
