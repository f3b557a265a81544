"""What a quantization did, layer by layer."""

from dataclasses import dataclass, field

import onnx_ir as ir

from modelkit.reports import Skip
from modelkit.safe import safe

_NAMED = 8


@dataclass
class Outcome:
    """What was quantized, and what not for which reason.

    ``unseen`` are those in bodies of If, Loop or Scan, where calibration samples are not followed.
    """

    candidates: int = 0
    quantized: int = 0
    skips: list[Skip] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def skip(self, node: ir.Node, reason: str) -> None:
        """Note that ``node`` stays."""
        name = node.name or node.outputs[0].name or ""
        self.skips.append(Skip(safe(name), safe(node.op_type), reason))

    def note(self, how: str) -> list[str]:
        """A line on the ``unseen`` layers, ``how`` they were quantized; none if there are none."""
        if not self.unseen:
            return []
        named = ", ".join(safe(name) for name in self.unseen[:_NAMED])
        more = len(self.unseen) - _NAMED
        named += f" and {more} more" if more > 0 else ""
        return [
            f"{len(self.unseen)} layers are in bodies of If, Loop or Scan, which calibration data"
            f" is not followed into: {how} ({named})"
        ]
