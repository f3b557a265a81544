"""Tables for --translations: forms of torch operators that the exporter has none for."""

import onnxscript
import torch
from onnxscript import FLOAT
from onnxscript import opset18 as op

OWN = onnxscript.values.Opset("org.example", 1)
EXTENSIONS = onnxscript.values.Opset("ai.onnx.contrib", 1)


def bessel(x):  # type: ignore[no-untyped-def]
    """sin(x) / x, for x that are not zero."""
    return op.Div(op.Sin(x), x)


def wrong_bessel(x):  # type: ignore[no-untyped-def]
    return op.Exp(x)


@onnxscript.script(OWN)  # type: ignore[untyped-decorator]
def own_bessel(x: FLOAT) -> FLOAT:
    return OWN.Bessel(x)


@onnxscript.script(EXTENSIONS)  # type: ignore[untyped-decorator]
def inverse(x: FLOAT) -> FLOAT:
    return EXTENSIONS.Inverse(x)


def unknown_bessel(x):  # type: ignore[no-untyped-def]
    return op.Bessel(x)


TABLE = {torch.ops.aten.special_spherical_bessel_j0.default: bessel}
WRONG = {"prims::spherical_bessel_j0": wrong_bessel}
CUSTOM = {"aten.special_spherical_bessel_j0.default": own_bessel}
INVERSE = {torch.ops.aten.linalg_inv: inverse}
UNKNOWN = {"aten::special_spherical_bessel_j0": unknown_bessel}
UNUSED = {"aten::special_zeta": bessel}
NO_OPERATOR = {"aten::no_such_thing": bessel}
NO_FUNCTION = {"aten::special_spherical_bessel_j0": 3}


def table() -> object:
    return TABLE


class Scaled(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.spherical_bessel_j0(x) + 1


def scaled() -> torch.nn.Module:
    return Scaled()


class Inverted(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.inv(x @ x.T + 4 * torch.eye(3)) * 2


def inverted() -> torch.nn.Module:
    return Inverted()
