"""``modelkit convert``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from modelkit.cli import options
from modelkit.cli.execute import execute, listing
from modelkit.cli.groups import Manner, Preparation, Writing

_TENSORFLOW = (".keras", ".h5", ".hdf5", ".pb", ".meta")
_FREEZING = 10


class Dtype(StrEnum):
    """Of the weights."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    SOURCE = "source"


def _list(wanted: bool) -> None:
    if wanted:
        listing("formats")


def convert(
    source: options.Source,
    writing: Writing,
    preparation: Preparation,
    manner: Manner,
    output: options.Output = None,
    model: Annotated[
        str | None,
        typer.Option(help="Python that builds the torch module, as package.module:factory"),
    ] = None,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(help="Shape of an input, as NAME:2,3,224,224[:float32]; repeatable"),
    ] = None,
    opset: Annotated[int | None, typer.Option(help="Opset of the result")] = None,
    task: Annotated[
        str | None, typer.Option(help="Hugging Face task, as text-classification")
    ] = None,
    trust_source: Annotated[
        bool,
        typer.Option("--trust-source", help="Load a file that can run code (pickle and kin)"),
    ] = False,
    listed: Annotated[
        bool,
        typer.Option("--list", is_eager=True, callback=_list, help="List the source formats"),
    ] = False,
    inputs: Annotated[
        str, typer.Option(help="Where to cut a TensorFlow graph, as x,y:0; found when left out")
    ] = "",
    outputs: Annotated[str, typer.Option(help="Likewise its ends, as logits,probabilities")] = "",
    dynamic_axes: Annotated[
        list[str] | None, typer.Option(help="Name dynamic axes, as x:0=batch,1=seq; repeatable")
    ] = None,
    static: Annotated[
        bool, typer.Option("--static-shapes", help="Fix every axis at its --input-shape")
    ] = False,
    dtype: Annotated[
        Dtype, typer.Option(help="Weights of the result; source: as the file has them")
    ] = Dtype.FLOAT32,
    sample: Annotated[
        str, typer.Option(help="Compare on the arrays of this .npz file, named after the inputs")
    ] = "",
    translations: Annotated[
        str | None,
        typer.Option(help="Python that maps torch operators to ONNX, as package.module:table"),
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(help="Rename an input or output, as old=new; repeatable")
    ] = None,
    output_names: Annotated[str, typer.Option(help="Names of all outputs, as a,b")] = "",
    double: Annotated[
        bool, typer.Option("--double", help="Compute in float64 (scikit-learn, boosted trees)")
    ] = False,
) -> None:
    """Turn a trained model of any framework into ONNX, checked against the framework.

    Example: modelkit convert weights.safetensors --model net:build --input-shape x:2,3,32,32
    """
    arguments = {
        "source": source,
        "output": output,
        "model": model,
        "input_shape": input_shape or [],
        "opset": opset,
        "task": task,
        "trust_source": trust_source,
        "double": double,
        "dynamic_axes": dynamic_axes or [],
        "static": static,
        "dtype": dtype.value,
        "sample": sample,
        "translations": translations,
        "rename": rename or [],
        "output_names": [name for name in output_names.split(",") if name],
        "inputs": [name for name in inputs.split(",") if name],
        "outputs": [name for name in outputs.split(",") if name],
        "preprocessing": preparation.words(),
        **writing.arguments(),
    }
    execute("convert", arguments, manner, copies=_copies(Path(source)))


def _copies(source: Path) -> int:
    """How many times the memory others need: TensorFlow freezes a graph in many copies."""
    is_tensorflow = source.suffix in _TENSORFLOW or (source / "saved_model.pb").is_file()
    return _FREEZING if is_tensorflow else 1
