"""Do the types in a file fit together?  Asked of onnx itself, without reading weights."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from modelkit.errors import BadInput
from modelkit.model import wire
from modelkit.model.files import mapped
from modelkit.safe import safe


def type_error(path: Path) -> str:
    """What onnx's strict inference of types and shapes says against the model; "" if nothing.

    For models that the installed runtime cannot open, whose types nobody else would look at.
    Operators outside the ONNX domains are not looked at.
    """
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(wire.without_weights(mapped(path)))
        onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    except (BadInput, wire.Malformed, DecodeError) as error:
        return safe(str(error), 300)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        return " ".join(safe(str(error), 300).split())
    return ""
