"""What a quantization did, layer by layer."""

from dataclasses import dataclass, field

import onnx_ir as ir

from modelkit.reports import Skip
from modelkit.safe import safe


@dataclass
class Outcome:
    """What was quantized, and what not for which reason."""

    candidates: int = 0
    quantized: int = 0
    skips: list[Skip] = field(default_factory=list)

    def skip(self, node: ir.Node, reason: str) -> None:
        """Note that ``node`` stays."""
        name = node.name or node.outputs[0].name or ""
        self.skips.append(Skip(safe(name), safe(node.op_type), reason))
