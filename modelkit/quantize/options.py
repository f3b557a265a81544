"""What a user may choose about a quantization, checked before anything is read."""

import dataclasses
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelkit.errors import Unsupported, UsageError
from modelkit.quantize.blocks import Blocks
from modelkit.quantize.emit import Form
from modelkit.quantize.goal import read_goal
from modelkit.quantize.ranges import METHODS
from modelkit.safe import safe

TARGETS = ("cpu", "any", "tensorrt", "cuda")
FORMATS = ("auto", "qdq", "qop")
_TYPES = ("auto", "int8", "uint8")
WEIGHT_ONLY = ("int8-weights", "int4")
"""Modes that leave activations in float."""
_CALIBRATED = ("static", "auto")
_MODES_OF = {
    "calib_data": (*_CALIBRATED, *WEIGHT_ONLY),
    "random_data": _CALIBRATED,
    "calibration": _CALIBRATED,
    "smoothing": _CALIBRATED,
    "format": _CALIBRATED,
    "activation_type": _CALIBRATED,
    "weight_type": ("dynamic", "auto"),
    "per_channel": ("dynamic", *_CALIBRATED),
    "block_size": WEIGHT_ONLY,
    "asymmetric": WEIGHT_ONLY,
}
"""What says something only to some modes; elsewhere it would be ignored without a word."""
_WRITTEN = {"smoothing": "no-smoothing", "per_channel": "per-tensor"}
_OF_AUTO = ("min_sqnr", "min_agreement", "max_drop", "eval_data", "labels", "metric", "race")


@dataclass(frozen=True)
class Options:
    """One choice of everything; the defaults are what the measurements favour."""

    mode: str = "dynamic"
    per_channel: bool = True
    weight_type: str = "int8"
    activation_type: str = "auto"
    exclude: tuple[str, ...] = ()
    exclude_op: tuple[str, ...] = ()
    calib_data: str | None = None
    random_data: bool = False
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    format: str = "auto"
    calibration: str = "auto"
    target: str = "cpu"
    smoothing: bool = True
    block_size: int = 32
    asymmetric: bool | None = None
    min_sqnr: float | None = None
    min_agreement: str | None = None
    max_drop: str | None = None
    eval_data: str | None = None
    labels: str | None = None
    metric: str | None = None
    race: bool = True
    intra_op: int | None = None

    @property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """``exclude`` compiled."""
        return tuple(_pattern(text) for text in self.exclude)

    @property
    def guarded(self) -> bool:
        """Whether weights keep 7 bits: on x86 without VNNI two products of bytes saturate 16 bits.

        Unsigned weights are widened before they are multiplied (ONNX Runtime's AVX2 kernels).
        """
        if self.target != "cpu" or self.weight_type != "int8" or self.mode in WEIGHT_ONLY:
            return False
        return _is_x86() and saturates()

    def recipe(self) -> dict[str, Any]:
        """The choices as the output's provenance keeps them; paths without their folders."""
        fields = dataclasses.asdict(self)
        fields["exclude"], fields["exclude_op"] = sorted(self.exclude), sorted(self.exclude_op)
        for name in ("calib_data", "eval_data", "labels"):
            if fields[name] is not None:
                fields[name] = Path(fields[name]).name
        if self.mode != "auto":
            for name in _OF_AUTO:
                del fields[name]
        return fields

    def blocks(self) -> Blocks:
        """How weights are rounded where activations stay float.

        Blocks of four bits have a zero point unless told otherwise: it costs about a hundredth of
        the speed and of the size.  Led by data it takes a tenth of the divergence away; without,
        a sentence encoder comes 0.5 dB nearer on text and 1.4 dB on words drawn by chance.
        """
        bits, asymmetric = 4 if self.mode == "int4" else 8, self.asymmetric
        if asymmetric is None:
            asymmetric = bits == 4
        return Blocks(bits, self.block_size, symmetric=not asymmetric)

    def form(self) -> Form:
        """How eight bits are written for the target.

        On x86 the products of unsigned by signed bytes are the fast ones; ARM and TensorRT want
        signed by signed, unless the user knows better.
        """
        signed = self.target == "tensorrt" or (self.target == "cpu" and not _is_x86())
        if self.activation_type != "auto":
            signed = self.activation_type == "int8"
        qop = self.format == "qop" or (self.format == "auto" and self.target == "cpu")
        return Form(
            qop=qop,
            unsigned=not signed,
            per_channel=self.per_channel,
            largest=63 if self.guarded else 127,
            integer_bias=self.target != "tensorrt",
        )


def checked(options: Options) -> Options:
    """``options``, unless they contradict each other or the target cannot run the result.

    Raises:
        UsageError, Unsupported: see the text.
    """
    for name, value, known in (
        ("target", options.target, TARGETS),
        ("format", options.format, FORMATS),
        ("calibration", options.calibration, ("auto", *METHODS)),
        ("weight-type", options.weight_type, _TYPES[1:]),
        ("activation-type", options.activation_type, _TYPES),
    ):
        if value not in known:
            raise UsageError(
                f"--{name} {safe(value)} is unknown", hint=f"one of: {', '.join(known)}"
            )
    _ = options.patterns
    _ = options.blocks()
    if options.target == "cuda" and options.mode not in WEIGHT_ONLY:
        raise Unsupported(
            "INT8 is slower than float on CUDA",
            cause="ONNX Runtime's CUDA provider has no integer kernels; it converts back to float"
            " before every layer",
            hint="use fp16 there, or --target tensorrt, which runs QDQ models in INT8",
            code="no-int8-kernels",
        )
    if options.mode == "static" and (options.calib_data is None) != options.random_data:
        raise UsageError(
            "static quantization needs data to calibrate on",
            hint="add --calib-data FILE; --random-data works without, at a risk",
        )
    if options.mode == "auto":
        read_goal(options.min_sqnr, options.min_agreement, options.max_drop)
    else:
        _check_without_goal(options)
    if options.mode in WEIGHT_ONLY:
        _check_weight_only(options)
    _check_without_effect(options)
    _check_target(options)
    return options


def _check_without_effect(options: Options) -> None:
    """Refuse what the mode would ignore."""
    plain = Options()
    for name, modes in _MODES_OF.items():
        if options.mode in modes or getattr(options, name) == getattr(plain, name):
            continue
        written = _WRITTEN.get(name, name.replace("_", "-"))
        if name == "asymmetric" and options.asymmetric is False:
            written = "symmetric"
        about = "--" + " and --".join(modes)
        if modes is WEIGHT_ONLY:
            about = f"weights in blocks, {about}"
        raise UsageError(
            f"--{written} says nothing to --{options.mode}", hint=f"it is about {about}"
        )


def _check_target(options: Options) -> None:
    """Refuse forms that the target does not read."""
    if options.mode == "dynamic" and options.target in ("any", "tensorrt"):
        raise UsageError(
            "--dynamic writes ONNX Runtime's own operators",
            hint="leave --target out; --static writes the QDQ form, which others read",
        )
    if options.target != "tensorrt":
        return
    if options.format == "qop":
        raise UsageError("TensorRT reads the QDQ form only", hint="leave --format out")
    if options.activation_type == "uint8":
        raise UsageError("TensorRT reads int8 only", hint="leave --activation-type out")


def _check_without_goal(options: Options) -> None:
    """Refuse what only a search can use."""
    goals = [name for name in _OF_AUTO if name not in ("eval_data", "race")]
    given = [name for name in goals if getattr(options, name) is not None]
    if given:
        raise UsageError(
            f"--{given[0].replace('_', '-')} is about --auto",
            hint="--auto searches for what meets a goal; `modelkit compare` judges a model",
        )


def _check_weight_only(options: Options) -> None:
    """Refuse what has no meaning where only weights take fewer bits."""
    if options.random_data:
        raise UsageError(
            f"--{options.mode} does not calibrate on random data",
            hint="leave --random-data out, or give --calib-data",
        )
    if options.format == "qdq" or options.target == "tensorrt":
        raise UsageError(
            f"--{options.mode} writes ONNX Runtime's MatMulNBits",
            hint="leave --format and --target out; --static --target tensorrt writes QDQ",
        )


def saturates(information: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this x86 processor is known to lack the VNNI instructions."""
    if not information.is_file():
        return False
    for line in information.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return not {"avx512_vnni", "avx_vnni"} & set(value.split())
    return False


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64", "i686")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(
            f"--exclude {safe(text)} is no regular expression", cause=str(error)
        ) from None
