"""LibSVM's text models: a reader of our own for its five kinds of machine and four kernels.

Columns are LibSVM's feature numbers 1, 2, ...; a sparse feature that is not given is 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from libsvm import svmutil

from modelkit.convert import heads
from modelkit.convert.draft import ML, Draft
from modelkit.convert.input_shapes import parse
from modelkit.convert.source import Options, Route, Source
from modelkit.convert.tabular import Column, Table
from modelkit.errors import BadInput, Unsupported, UsageError
from modelkit.model import Model
from modelkit.runtime.session import Feeds
from modelkit.safe import safe

_KERNELS = {"linear": "LINEAR", "polynomial": "POLY", "rbf": "RBF", "sigmoid": "SIGMOID"}
_CLASSIFIERS = ("c_svc", "nu_svc")
_REGRESSORS = ("epsilon_svr", "nu_svr")
# LibSVM keeps the probabilities of a pair this far from 0 and 1.
_LEAST = 1e-7
_MOST_FEATURES = 1_000_000


@dataclass(frozen=True)
class Machine:
    """The file: ``coefficients`` [pairs of one class, vectors], ``vectors`` [vectors, features]."""

    header: dict[str, list[str]]
    coefficients: np.ndarray
    vectors: np.ndarray

    @property
    def kind(self) -> str:
        """As the file has it: "c_svc" and kin."""
        return self.header["svm_type"][0]

    @property
    def labels(self) -> list[int]:
        """Classes in the file's order."""
        return [int(label) for label in self.header.get("label", ())]

    def numbers(self, key: str) -> list[float]:
        """The floats of a header line; empty when it is not there."""
        return [float(value) for value in self.header.get(key, ())]

    @property
    def probable(self) -> bool:
        """Whether a classifier was trained to give probabilities."""
        return self.kind in _CLASSIFIERS and "probA" in self.header and "probB" in self.header


def open_model(path: Path | None, name: str, options: Options) -> Source:
    """Read the file; its own library is loaded only to be compared with.

    Raises:
        BadInput: a line is not of LibSVM's form.
        Unsupported: a precomputed kernel.
        UsageError: fewer columns asked for than the file uses.
    """
    assert path is not None
    machine = read_machine(path)
    used = machine.vectors.shape[1]
    columns = _columns(options, used)
    wide = np.pad(machine.vectors, ((0, 0), (0, columns - used)))
    machine = Machine(machine.header, machine.coefficients, wide)
    low, high = wide.min(axis=0), wide.max(axis=0)
    ranges = zip(low, high, strict=True)
    table = Table(
        tuple(Column(f"x{i}", low=float(a), high=float(b)) for i, (a, b) in enumerate(ranges)),
        "X",
        options.double,
    )
    if options.double and machine.probable and len(machine.labels) > 2:
        raise UsageError(
            "probabilities of more than two classes are computed in float32 only",
            hint="leave --double out",
        )
    library = svmutil.svm_load_model(str(path))
    if library is None:
        raise BadInput(f"{safe(str(path))} could not be loaded by LibSVM", code="unreadable")

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        return _predicted(machine, library, feeds["X"], table.number())

    notes = []
    if not options.input_shape:
        notes.append(
            f"the file uses features up to {used}; for rows of more columns"
            " add --input-shape X:batch,COLUMNS"
        )
    route = Route("own reader", lambda: drafted(machine, double=options.double))
    title = f"LibSVM {machine.kind}"
    advice = "" if options.double else "--double computes in float64 as LibSVM does"
    return Source(
        title, run, table.specs(), (route,), (), tuple(notes), table.trials(), advice=advice
    )


def _columns(options: Options, used: int) -> int:
    if not options.input_shape:
        return used
    (asked, *_) = parse(options.input_shape)
    columns = asked.spec.shape[-1]
    if asked.spec.name != "X" or not isinstance(columns, int) or columns < used:
        raise UsageError(
            f"the model takes one matrix X of at least {used} columns",
            hint=f"add --input-shape X:batch,{used}",
            code="input-shape",
        )
    return columns


def read_machine(path: Path) -> Machine:
    """The file as arrays.

    Raises:
        BadInput: a header line or a support vector is malformed; the line is named.
        Unsupported: a precomputed kernel.
    """
    header: dict[str, list[str]] = {}
    rows: list[tuple[list[float], dict[int, float]]] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            key, *values = line.split() or [""]
            if key == "SV":
                break
            header[key] = values
        _check_header(path, header)
        classes = int(header["nr_class"][0])
        count = max(classes - 1, 1) if header["svm_type"][0] in _CLASSIFIERS else 1
        rows += _rows(path, file, count, len(header) + 2)
    if len(rows) != int(header["total_sv"][0]):
        raise _broken(path, f"it has {len(rows)} support vectors of {header['total_sv'][0]}")
    features = max((max(row, default=0) for _, row in rows), default=0)
    if not 0 < features <= _MOST_FEATURES:
        raise _broken(path, f"its largest feature number is {features}")
    vectors = np.zeros((len(rows), features))
    for place, (_, row) in enumerate(rows):
        for index, value in row.items():
            vectors[place, index - 1] = value
    coefficients = np.array([own for own, _ in rows]).T
    return Machine(header, coefficients, vectors)


def _check_header(path: Path, header: dict[str, list[str]]) -> None:
    for key in ("svm_type", "kernel_type", "nr_class", "total_sv", "rho"):
        if not header.get(key):
            raise _broken(path, f"it has no line '{key}'")
    kernel, kind = header["kernel_type"][0], header["svm_type"][0]
    if kernel not in _KERNELS or kind not in (*_CLASSIFIERS, *_REGRESSORS, "one_class"):
        raise Unsupported(
            f"{safe(str(path))} is a machine of kind {safe(kind, 30)} with a {safe(kernel, 30)}"
            " kernel, which has no form here",
            hint=f"kernels: {', '.join(_KERNELS)}",
        )
    try:
        for key in ("rho", "gamma", "coef0", "degree", "probA", "probB", "nr_class", "total_sv"):
            [float(value) for value in header.get(key, ())]
        [int(value) for value in (*header.get("label", ()), *header.get("nr_sv", ()))]
    except ValueError as error:
        raise _broken(path, str(error)) from None


def _rows(
    path: Path, lines: Iterator[str], count: int, first: int
) -> Iterator[tuple[list[float], dict[int, float]]]:
    for number, line in enumerate(lines, first):
        words = line.split()
        try:
            own = [float(word) for word in words[:count]]
            pairs = (word.split(":") for word in words[count:])
            row = {int(index): float(value) for index, value in pairs}
        except ValueError:
            raise _broken(path, f"line {number} is no support vector") from None
        if len(own) < count or min(row, default=1) < 1:
            raise _broken(path, f"line {number} is no support vector")
        yield own, row


def _broken(path: Path, cause: str) -> BadInput:
    return BadInput(
        f"{safe(str(path))} is no whole LibSVM model",
        cause=safe(cause, 200),
        hint="was it cut off?",
        code="truncated",
    )


def drafted(machine: Machine, *, double: bool = False) -> Model:
    """The graph on "X" [batch, features]; outputs as :func:`_predicted` names them."""
    draft = Draft()
    kind = "float64" if double else "float32"
    x = draft.input("X", kind, ["batch", machine.vectors.shape[1]])
    count = len(machine.labels)
    if machine.kind in _CLASSIFIERS and machine.probable and count > 2:
        _probabilities(draft, x, machine)
        return draft.model("support vectors")
    scores = decisions(draft, x, machine, kind)
    zero = draft.constant(np.array(0, kind))
    if machine.kind in _REGRESSORS:
        draft.output(scores, "prediction", kind, ["batch", 1])
    elif machine.kind == "one_class":
        _one_or_other(draft, draft.add("Greater", scores, zero), [1, -1])
        draft.output(scores, "scores", kind, ["batch", 1])
    elif machine.probable:
        first = _platt(draft, scores, machine, kind)
        half = draft.constant(np.array(0.5, kind))
        _one_or_other(draft, draft.add("GreaterOrEqual", first, half), machine.labels)
        other = draft.add("Sub", draft.constant(np.array(1, kind)), first)
        both = draft.add("Concat", first, other, axis=1)
        draft.output(both, "probabilities", kind, ["batch", 2])
    elif count == 2:
        _one_or_other(draft, draft.add("Greater", scores, zero), machine.labels)
        draft.output(scores, "scores", kind, ["batch", 1])
    else:
        _votes(draft, draft.add("Greater", scores, zero), machine)
        draft.output(scores, "scores", kind, ["batch", count * (count - 1) // 2])
    return draft.model("support vectors")


def decisions(draft: Draft, x: str, machine: Machine, kind: str) -> str:
    """The decision values [batch, pairs of classes]: kernel times coefficients, less rho.

    The pairs stand in LibSVM's order; the coefficients of the vectors of class i against class j
    are row j - 1 for i < j, else row j.
    """
    rho = np.array(machine.numbers("rho"), kind)
    if machine.kind not in _CLASSIFIERS:
        table = machine.coefficients.T
    else:
        ends = np.cumsum([0, *(int(value) for value in machine.header["nr_sv"])])
        pairs = list(combinations(range(len(machine.labels)), 2))
        table = np.zeros((len(machine.vectors), len(pairs)))
        for column, (i, j) in enumerate(pairs):
            own, other = slice(ends[i], ends[i + 1]), slice(ends[j], ends[j + 1])
            table[own, column] = machine.coefficients[j - 1, own]
            table[other, column] = machine.coefficients[i, other]
    if machine.header["kernel_type"][0] == "linear":
        # One plane a pair: the vectors need not be kept.
        weights = draft.constant((machine.vectors.T @ table).astype(kind))
        product = draft.add("MatMul", x, weights)
    else:
        kernel = _kernel(draft, x, machine, kind)
        product = draft.add("MatMul", kernel, draft.constant(table.astype(kind)))
    return draft.add("Sub", product, draft.constant(rho.reshape(1, -1)))


def _kernel(draft: Draft, x: str, machine: Machine, kind: str) -> str:
    """Each row against each support vector, [batch, vectors]."""
    name = machine.header["kernel_type"][0]
    gamma, shift, degree = ((machine.numbers(k) or [0.0])[0] for k in ("gamma", "coef0", "degree"))
    if name == "rbf":
        return _gaussian(draft, x, machine, gamma, kind)
    products = draft.add("MatMul", x, draft.constant(machine.vectors.T.astype(kind)))
    scaled = draft.add("Mul", products, draft.constant(np.array(gamma, kind)))
    moved = draft.add("Add", scaled, draft.constant(np.array(shift, kind)))
    if name == "sigmoid":
        return draft.add("Tanh", moved)
    return draft.add("Pow", moved, draft.constant(np.array(degree, kind)))


def _gaussian(draft: Draft, x: str, machine: Machine, gamma: float, kind: str) -> str:
    """exp(-gamma |x - v|^2); the squares are taken of differences, which loses no digits."""
    rows = draft.add("Unsqueeze", x, draft.constant(np.array([1], np.int64)))
    vectors = draft.constant(machine.vectors[np.newaxis].astype(kind))
    apart = draft.add("Sub", rows, vectors)
    axis = draft.constant(np.array([2], np.int64))
    squares = draft.add("ReduceSumSquare", apart, axis, keepdims=0)
    return draft.add("Exp", draft.add("Mul", squares, draft.constant(np.array(-gamma, kind))))


def _platt(draft: Draft, scores: str, machine: Machine, kind: str) -> str:
    """The probability of the first of two classes, [batch, 1]; clipped as LibSVM does."""
    slope, shift = machine.numbers("probA")[0], machine.numbers("probB")[0]
    scaled = draft.add("Mul", scores, draft.constant(np.array(-slope, kind)))
    moved = draft.add("Sub", scaled, draft.constant(np.array(shift, kind)))
    limits = [draft.constant(np.array(value, kind)) for value in (_LEAST, 1 - _LEAST)]
    return draft.add("Clip", draft.add("Sigmoid", moved), *limits)


def _one_or_other(draft: Draft, first: str, labels: Sequence[int]) -> None:
    sides = [draft.constant(np.array(side, np.int64)) for side in labels]
    column = draft.add("Where", first, *sides)
    flat = draft.add("Reshape", column, draft.constant(np.array([-1], np.int64)))
    draft.output(flat, "label", "int64", ["batch"])


def _votes(draft: Draft, won: str, machine: Machine) -> None:
    """Each pair's vote goes to one of its classes; the first with the most votes is the label."""
    count = len(machine.labels)
    gain = np.zeros((count * (count - 1) // 2, count), np.float32)
    start = np.zeros((1, count), np.float32)
    for row, (i, j) in enumerate(combinations(range(count), 2)):
        gain[row, i], gain[row, j] = 1, -1
        start[0, j] += 1
    flags = draft.add("Cast", won, to=1)
    votes = draft.add("MatMul", flags, draft.constant(gain))
    total = draft.add("Add", votes, draft.constant(start))
    draft.output(heads.label(draft, total, machine.labels), "label", "int64", ["batch"])


def _probabilities(draft: Draft, x: str, machine: Machine) -> None:
    """More than two classes: ONNX Runtime couples the pairs by LibSVM's own iteration."""
    parameters = [(machine.numbers(key) or [0.0])[0] for key in ("gamma", "coef0", "degree")]
    _, scores = draft.add_several(
        "SVMClassifier",
        2,
        x,
        domain=ML,
        classlabels_ints=machine.labels,
        vectors_per_class=[int(value) for value in machine.header["nr_sv"]],
        rho=[-value for value in machine.numbers("rho")],
        prob_a=machine.numbers("probA"),
        prob_b=machine.numbers("probB"),
        coefficients=machine.coefficients.ravel().tolist(),
        support_vectors=machine.vectors.ravel().tolist(),
        kernel_type=_KERNELS[machine.header["kernel_type"][0]],
        kernel_params=parameters,
        post_transform="NONE",
    )
    # ONNX Runtime labels by votes, LibSVM by the largest probability.
    draft.output(heads.label(draft, scores, machine.labels), "label", "int64", ["batch"])
    draft.output(scores, "probabilities", "float32", ["batch", len(machine.labels)])


def _predicted(
    machine: Machine, library: object, rows: np.ndarray, number: str
) -> dict[str, np.ndarray]:
    """LibSVM's own answers: labels with probabilities or decision values, or numbers."""
    asked = "-q -b 1" if machine.probable else "-q"
    empty = [0.0] * len(rows)
    found, _, values = svmutil.svm_predict(empty, rows.astype(np.float64).tolist(), library, asked)
    if machine.kind in _REGRESSORS:
        return {"prediction": np.array(found, number).reshape(-1, 1)}
    label = np.array(found).astype(np.int64)
    name = "probabilities" if machine.probable else "scores"
    return {"label": label, name: np.array(values, number).reshape(len(rows), -1)}
