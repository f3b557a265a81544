"""The support table: every format that is recognised, and the file that converts it."""

from importlib import metadata
from typing import NamedTuple

from modelkit.reports import FormatsReport, SourceFormat

_TORCH = ("modelkit.convert.from_torch", "torch", "torch")
_HF = ("modelkit.convert.from_transformers", "transformers", "hf")
_SKLEARN = ("modelkit.convert.from_sklearn", "sklearn", "sklearn")
_TF = ("modelkit.convert.from_tensorflow", "tensorflow", "tf")
_KERAS = ("modelkit.convert.from_keras", "keras", "tf")
_PEFT = ("modelkit.convert.from_peft", "peft", "peft")
_PADDLE = ("modelkit.convert.from_paddle", "paddle", "paddle")
_JAX = ("modelkit.convert.from_jax", "jax", "jax")
_SPARK = ("modelkit.convert.from_spark", "pyspark", "spark")
_ST = ("modelkit.convert.from_sentence_transformers", "transformers", "hf")


class Framework(NamedTuple):
    """One row: ``module`` has ``open_model``; it is "" while the format is only recognised.

    ``detects`` says what the format is recognised by, ``needs`` the library that ``module``
    imports, ``extra`` what installs it.
    """

    name: str
    detects: str
    module: str = ""
    needs: str = ""
    extra: str = ""


FRAMEWORKS: dict[str, Framework] = {
    "onnx": Framework("ONNX", "ir_version, graph and opset_import", "modelkit.convert.from_onnx"),
    "onnx-zip": Framework(
        "ONNX in an archive (Custom Vision)",
        "one .onnx in a zip archive",
        "modelkit.convert.from_onnx",
    ),
    "sentence-transformers": Framework("sentence-transformers folder", "modules.json", *_ST),
    "transformers": Framework(
        "Hugging Face folder", "config.json with a model_type, or hf:ORG/NAME@REV", *_HF
    ),
    "peft": Framework("PEFT adapter", "adapter_config.json", *_PEFT),
    "torch": Framework("PyTorch", "data.pkl in a zip archive", *_TORCH),
    "torch-legacy": Framework("PyTorch before 1.6", "the magic number of torch.save", *_TORCH),
    "safetensors": Framework("safetensors", "its header", *_TORCH),
    "torch-shards": Framework("sharded PyTorch checkpoint", "weight_map of *.index.json", *_TORCH),
    "torchscript": Framework("TorchScript", "code/ and data.pkl in a zip archive", *_TORCH),
    "pt2": Framework("torch.export program", "models/model.json in a zip archive", *_TORCH),
    "saved-model": Framework("TensorFlow SavedModel", "saved_model.pb", *_TF),
    "frozen-graph": Framework("TensorFlow GraphDef", "its node messages", *_TF),
    "meta-graph": Framework("TensorFlow 1 checkpoint", "its MetaGraphDef fields", *_TF),
    "tflite": Framework("TensorFlow Lite", "TFL3 at byte 4", *_TF),
    "keras": Framework("Keras 3", "config.json and metadata.json in a zip archive", *_KERAS),
    "keras-h5": Framework("Keras HDF5", "the HDF5 signature", *_KERAS),
    "sklearn-pickle": Framework("scikit-learn pickle", "the modules its pickle names", *_SKLEARN),
    "xgboost-pickle": Framework("XGBoost pickle", "the modules its pickle names", *_SKLEARN),
    "lightgbm-pickle": Framework("LightGBM pickle", "the modules its pickle names", *_SKLEARN),
    "catboost-pickle": Framework("CatBoost pickle", "the modules its pickle names", *_SKLEARN),
    "pickle": Framework("Python pickle", "its first opcode, also compressed", *_SKLEARN),
    "skops": Framework("scikit-learn (skops)", "schema.json in a zip archive", *_SKLEARN),
    "xgboost": Framework(
        "XGBoost",
        "the learner key, as JSON or UBJSON",
        "modelkit.convert.from_xgboost",
        "xgboost",
        "boost",
    ),
    "lightgbm": Framework(
        "LightGBM",
        "tree and version, as text",
        "modelkit.convert.from_lightgbm",
        "lightgbm",
        "boost",
    ),
    "catboost": Framework(
        "CatBoost", "CBM1 or features_info", "modelkit.convert.from_catboost", "catboost", "boost"
    ),
    "libsvm": Framework("LibSVM", "svm_type", "modelkit.convert.from_libsvm", "libsvm", "svm"),
    "spark": Framework("Spark ML", "metadata/part-* of org.apache.spark.ml", *_SPARK),
    "paddle": Framework("PaddlePaddle", "*.pdiparams, pir JSON or ProgramDesc", *_PADDLE),
    "coreml": Framework("Core ML", "its fields, or Manifest.json and Data/"),
    "mxnet": Framework("MXNet", "*-symbol.json or the magic number of *.params"),
    "mindir": Framework("MindSpore MindIR", "MindSpore in its first bytes"),
    "cntk": Framework("CNTK v2", "its first bytes"),
    "caffe": Framework("Caffe", "layer messages, or prototxt"),
    "caffe2": Framework("Caffe2", "operator messages, or init_net.pb and predict_net.pb"),
    "jax": Framework("JAX function", "jax:module:function", *_JAX),
    "flax": Framework("JAX/Flax parameters", "msgpack with params", *_JAX),
    "arrays": Framework("arrays without a model (.npz; Chainer)", "only .npy in a zip archive"),
    "gguf": Framework("GGUF", "its first bytes"),
    "ort": Framework("ONNX Runtime's own format", "ORTM at byte 4"),
    "executorch": Framework("ExecuTorch program", "ET12 at byte 4"),
}
"""Format to its row; a row without a module is recognised and refused by name."""


# Import name to the distribution that holds it, where they differ.
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "libsvm": "libsvm-official", "paddle": "paddlepaddle"}


def list_formats() -> FormatsReport:
    """The table with the versions that are installed here."""
    return FormatsReport(
        tuple(
            SourceFormat(row.name, row.detects, bool(row.module), _library(row.needs), row.extra)
            for row in FRAMEWORKS.values()
        )
    )


def _library(name: str) -> str:
    if not name:
        return ""
    distribution = _DISTRIBUTIONS.get(name, name)
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return f"{distribution}, not installed"


def convertible() -> str:
    """The names of the formats that can be converted, as one line."""
    return ", ".join(row.name for row in FRAMEWORKS.values() if row.module)
