"""What a user may choose about half precision, checked before anything is read."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

from modelkit.errors import UsageError
from modelkit.precision.kernels import TARGETS
from modelkit.precision.narrow import HALVES
from modelkit.runtime.compare import TOLERANCES, Tolerance
from modelkit.safe import safe


@dataclass(frozen=True)
class Options:
    """One choice of everything.

    Attributes:
        step: "fp16" or "bf16".
        mixed: keep as few nodes in float as the goal needs, found by search.
        min_sqnr: the goal in dB; None: the step's tolerance.
        max_error: the goal as largest relative error instead.
        keep: nodes and operators, by regular expression, that keep float.
        half_io: inputs and outputs become half too.
        target: where it will run; operators without a half kernel there keep float.
        calib_data: real inputs to find ranges with and to verify on.
    """

    step: str = "fp16"
    mixed: bool = False
    min_sqnr: float | None = None
    max_error: float | None = None
    keep: tuple[str, ...] = ()
    half_io: bool = False
    target: str = "cuda"
    calib_data: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def half(self) -> ir.DataType:
        """The format."""
        return HALVES[self.step]

    @property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """``keep`` compiled."""
        return tuple(_pattern(text) for text in self.keep)

    @property
    def tolerance(self) -> Tolerance:
        """What the result must meet."""
        usual = TOLERANCES[self.step]
        if self.max_error is not None:
            return Tolerance("relative", self.max_error, usual.agreement)
        if self.min_sqnr is not None:
            return Tolerance("sqnr", self.min_sqnr, usual.agreement)
        return usual

    def recipe(self) -> dict[str, Any]:
        """The choices as the output's provenance keeps them; paths without their folders."""
        fields = dataclasses.asdict(self)
        fields["keep"] = sorted(self.keep)
        if self.calib_data is not None:
            fields["calib_data"] = Path(self.calib_data).name
        return fields


def checked(options: Options) -> Options:
    """``options``, unless they contradict each other.

    Raises:
        UsageError: see the text.
    """
    if options.min_sqnr is not None and options.max_error is not None:
        raise UsageError("--min-sqnr and --max-error exclude each other", hint="give one goal")
    if options.max_error is not None and not options.max_error > 0:
        raise UsageError("--max-error must be above 0", hint="a relative error, as 0.01")
    if options.min_sqnr is not None and not 0 < options.min_sqnr < 200:
        raise UsageError("--min-sqnr must lie between 0 and 200 dB")
    if options.target not in TARGETS:
        raise UsageError(
            f"--target {safe(options.target)} is unknown", hint=f"one of: {', '.join(TARGETS)}"
        )
    _ = options.patterns
    return options


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(
            f"--keep '{safe(text)}' is no regular expression", cause=str(error)
        ) from None
