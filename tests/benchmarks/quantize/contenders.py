"""Who quantizes: modelkit, ONNX Runtime with its defaults, and settings that other tools use.

python -m tests.benchmarks.quantize.contenders NAME SUBJECT_FOLDER OUTPUT

Each runs in a process of its own; results that are not legal can kill native code.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType
from onnxruntime.quantization.shape_inference import quant_pre_process

from tests.benchmarks.quantize.parts import Feeds
from tests.benchmarks.quantize.subjects import read_feeds


@dataclass(frozen=True)
class Contender:
    """``make`` reads the model in a subject's folder and writes the result."""

    name: str
    about: str
    make: Callable[[Path, Path], None]


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, folder: Path) -> None:
        self._samples: Iterator[Feeds] = iter(read_feeds(folder))

    def get_next(self) -> Feeds | None:
        return next(self._samples, None)


def ort_dynamic(folder: Path, output: Path) -> None:
    """quantize_dynamic as it comes."""
    quantization.quantize_dynamic(folder / "model.onnx", output)


def ort_static(folder: Path, output: Path) -> None:
    """quantize_static as it comes."""
    quantization.quantize_static(folder / "model.onnx", output, _Reader(folder / "calibration"))


def optimum_dynamic(folder: Path, output: Path) -> None:
    """What optimum-cli does for AVX512-VNNI: every operator, a scale a channel."""
    quantization.quantize_dynamic(
        folder / "model.onnx", output, per_channel=True, weight_type=QuantType.QInt8
    )


def olive_dynamic(folder: Path, output: Path) -> None:
    """Olive's dynamic pass: pre-processed, one scale a tensor."""
    quantization.quantize_dynamic(
        _preprocessed(folder, output), output, per_channel=False, weight_type=QuantType.QInt8
    )


def prepared_dynamic(folder: Path, output: Path) -> None:
    """The best of ONNX Runtime's dynamic settings: pre-processed, a scale a channel."""
    quantization.quantize_dynamic(
        _preprocessed(folder, output), output, per_channel=True, weight_type=QuantType.QInt8
    )


def olive_static(folder: Path, output: Path) -> None:
    """Olive's static pass: pre-processed, one scale a tensor, unsigned activations."""
    _static(folder, output, per_channel=False, method=CalibrationMethod.MinMax)


def prepared_static(folder: Path, output: Path) -> None:
    """The best of ONNX Runtime's static settings: U8S8, a scale a channel, percentiles."""
    _static(folder, output, per_channel=True, method=CalibrationMethod.Percentile)


def modelkit_dynamic(folder: Path, output: Path) -> None:
    """``modelkit quantize --dynamic`` of the model as it is."""
    _modelkit(folder / "model.onnx", output, mode="dynamic")


def modelkit_static(folder: Path, output: Path) -> None:
    """``modelkit quantize --static --calib-data`` of the model that ``optimize`` wrote."""
    data = str(folder / "calibration")
    _modelkit(_optimized(folder, output), output, mode="static", calib_data=data)


def modelkit_auto(folder: Path, output: Path) -> None:
    """``modelkit quantize --auto --min-sqnr 35`` of the model that ``optimize`` wrote."""
    data = str(folder / "calibration")
    goal = {"min_sqnr": 35.0, "measure": True}
    _modelkit(_optimized(folder, output), output, mode="auto", calib_data=data, **goal)


CONTENDERS = (
    Contender("ort-dynamic", "quantize_dynamic, defaults", ort_dynamic),
    Contender("ort-static", "quantize_static, defaults", ort_static),
    Contender("optimum", "quantize_dynamic, per channel", optimum_dynamic),
    Contender("olive-dynamic", "quant_pre_process, per tensor", olive_dynamic),
    Contender("olive-static", "quant_pre_process, U8S8 per tensor", olive_static),
    Contender("best-dynamic", "quant_pre_process, per channel", prepared_dynamic),
    Contender("best-static", "quant_pre_process, U8S8 per channel, percentile", prepared_static),
    Contender("modelkit-dynamic", "quantize --dynamic", modelkit_dynamic),
    Contender("modelkit-static", "optimize, quantize --static", modelkit_static),
    Contender("modelkit-auto", "optimize, quantize --auto --min-sqnr 35", modelkit_auto),
)


def _preprocessed(folder: Path, output: Path) -> Path:
    path = output.with_suffix(".pre.onnx")
    source = str(folder / "model.onnx")
    try:
        quant_pre_process(source, str(path))
    except Exception as error:  # it raises no other kind
        if "symbolic shape" not in str(error):
            raise
        quant_pre_process(source, str(path), skip_symbolic_shape=True)
    return path


def _static(folder: Path, output: Path, **chosen: Any) -> None:
    method = chosen.pop("method")
    quantization.quantize_static(
        _preprocessed(folder, output),
        output,
        _Reader(folder / "calibration"),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=method,
        **chosen,
    )


def _optimized(folder: Path, output: Path) -> Path:
    from modelkit.optimize import optimize_file

    path = output.with_suffix(".opt.onnx")
    optimize_file(str(folder / "model.onnx"), str(path), force=True, measure=False)
    return path


def _modelkit(source: Path, output: Path, **chosen: Any) -> None:
    from modelkit.quantize import quantize_file

    quantize_file(str(source), str(output), force=True, **{"measure": False, **chosen})


def main() -> None:
    """Quantize what the command line names."""
    warnings.simplefilter("ignore")
    name, folder, output = sys.argv[1:]
    next(each for each in CONTENDERS if each.name == name).make(Path(folder), Path(output))
    onnx.load(output)


if __name__ == "__main__":
    main()
