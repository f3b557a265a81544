"""What ``inspect`` returns."""

from dataclasses import dataclass, field

from modelkit.reports.figures import FileFacts


@dataclass(frozen=True)
class ValueFacts:
    """An input or output: ``shape`` as written in the model, unknown dims as "?"."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Costs:
    """What one run costs at these lengths of axes; ``unknown`` nodes had no known shape.

    ``activation_bytes`` is the largest sum of values alive at once, weights not counted.
    """

    dims: dict[str, int]
    flops: int
    by_operator: dict[str, int]
    activation_bytes: int
    peak_node: str
    unknown: int


@dataclass(frozen=True)
class InspectReport:
    """What ``inspect`` saw."""

    file: FileFacts
    producer: str
    inputs: tuple[ValueFacts, ...]
    outputs: tuple[ValueFacts, ...]
    operators: dict[str, int]
    bytes_by_dtype: dict[str, int]
    largest: tuple[tuple[str, str, int], ...]
    history: tuple[str, ...]
    lint: tuple[str, ...]
    costs: Costs | None = None
    graph: tuple[str, ...] = ()
    pages: int = 0


@dataclass(frozen=True)
class Difference:
    """Something that two models do not share; ``kind`` says what, as "input" or "weight"."""

    kind: str
    name: str
    a: str
    b: str


@dataclass(frozen=True)
class DiffReport:
    """What ``inspect A B`` saw: files, operator counts, and each difference."""

    a: FileFacts
    b: FileFacts
    operators: dict[str, tuple[int, int]]
    differences: tuple[Difference, ...]
    counts: dict[str, int] = field(default_factory=dict)
