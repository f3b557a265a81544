"""Where the time of a model goes: ONNX Runtime's own trace, read node by node.

Source of the format: the JSON that ``SessionOptions.enable_profiling`` writes (Chrome's trace
events): one event a kernel, with operator, provider and the shapes it met.
"""

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelkit.errors import CheckFailed, ProviderMissing
from modelkit.model.flops import flops
from modelkit.reports import NodeTime, Placement
from modelkit.runtime.providers import CPU, PROVIDERS
from modelkit.runtime.session import Feeds, Setup
from modelkit.safe import safe

_KERNEL = "_kernel_time"
_RUN = "model_run"
_COPIES = ("MemcpyToHost", "MemcpyFromHost")
_SHORT = {provider.ort: provider.name for provider in PROVIDERS}
# Weights stay visible in the trace only when kernels do not pack them away.
_SEEN = {"session.disable_prepacking": "1"}

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """One kernel's run: ``micros`` is its own time, without that of the bodies it runs."""

    node: str
    op: str
    provider: str
    micros: float
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]


def trace(setup: Setup, path: Path, feeds: Feeds, *, runs: int = 5) -> list[list[Kernel]]:
    """The kernels of each of ``runs`` runs, after one that is not counted.

    Raises:
        CheckFailed: the runtime wrote no trace that can be read.
    """
    with tempfile.TemporaryDirectory(prefix="modelkit-") as folder:
        with setup.open(path, profile=Path(folder) / "trace") as session:
            for _ in range(runs + 1):
                session.run(feeds)
            file = Path(session.raw.end_profiling())
        try:
            events = json.loads(file.read_text(errors="replace"))
        except (OSError, ValueError) as error:
            raise CheckFailed(
                f"ONNX Runtime left no readable trace of {safe(str(path))}", cause=safe(str(error))
            ) from None
    return list(_by_run(events))[1:]


def node_times(runs: Sequence[Sequence[Kernel]]) -> tuple[NodeTime, ...]:
    """Each node's median time over ``runs``, slowest first; a node in a loop counts all turns."""
    times: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0.0] * len(runs))
    kernels: dict[tuple[str, str, str], Kernel] = {}
    for index, run in enumerate(runs):
        for kernel in run:
            key = (kernel.node, kernel.op, kernel.provider)
            times[key][index] += kernel.micros
            kernels[key] = kernel
    found = [
        NodeTime(
            node=key[0],
            op=key[1],
            provider=_short(key[2]),
            micros=float(np.median(values)),
            shapes=" ".join("x".join(map(str, shape)) or "1" for shape in kernels[key].outputs[:1]),
        )
        for key, values in times.items()
    ]
    return tuple(sorted(found, key=lambda each: -each.micros))


def placement(setup: Setup, path: Path, feeds: Feeds) -> Placement:
    """Which provider runs how many nodes, for how long, and how much of the arithmetic."""
    kernels = trace(setup, path, feeds, runs=3)
    last = kernels[-1] if kernels else []
    micros: defaultdict[str, float] = defaultdict(float)
    for run in kernels:
        for kernel in run:
            micros[_short(kernel.provider)] += kernel.micros / max(len(kernels), 1)
    nodes = Counter(_short(kernel.provider) for kernel in last)
    total = sum(arithmetic(path, feeds, setup).values())
    on_cpu = _sum(kernel for kernel in last if kernel.provider == CPU.ort)
    elsewhere = any(name != CPU.name for name in nodes)
    return Placement(
        nodes=dict(nodes),
        micros=dict(micros),
        # Fusion changes the count a little, so that the CPU's own is not quite the total.
        offloaded=max(0.0, 1 - on_cpu / max(total, 1)) if elsewhere else 0.0,
        copies=sum(kernel.op in _COPIES for kernel in last),
    )


def arithmetic(path: Path, feeds: Feeds, setup: Setup) -> dict[str, int]:
    """Operations (FLOP) of one run by operator, as the file is written, counted on the CPU."""
    plain = replace(
        setup,
        providers=(CPU,),
        provider_options={},
        graph_level="none",
        session_options=_SEEN,
        inter_op=1,
    )
    found: Counter[str] = Counter()
    for kernel in trace(plain, path, feeds, runs=1)[0]:
        found[kernel.op] += flops(kernel.op, kernel.inputs, kernel.outputs)
    return dict(found)


def check_offload(setup: Setup, path: Path, feeds: Feeds) -> Placement:
    """The placement, if the providers asked for do their share of the work.

    Raises:
        ProviderMissing: they do less than ``setup.min_offload`` of the arithmetic.
    """
    found = placement(setup, path, feeds)
    wanted = setup.providers[0].name
    if found.offloaded < setup.min_offload and not setup.allow_fallback:
        ran = ", ".join(f"{count} nodes by {name}" for name, count in found.nodes.items())
        raise ProviderMissing(
            f"{wanted} carries {found.offloaded:.0%} of the arithmetic of {safe(path.name)}",
            cause=f"run: {ran}; asked for at least {setup.min_offload:.0%}",
            hint="lower --min-offload, or add --allow-fallback to accept the CPU",
            code="offload",
        )
    return found


def _by_run(events: Any) -> Iterator[list[Kernel]]:
    """Kernels of each run; a kernel belongs to the run in whose time it began."""
    timed = [e for e in events if isinstance(e, dict) and isinstance(e.get("dur"), int)]
    kernels = [e for e in timed if e.get("cat") == "Node" and e["name"].endswith(_KERNEL)]
    kernels.sort(key=lambda event: event["ts"])
    own = _own_times(kernels)
    for run in (e for e in timed if e["name"] == _RUN):
        end = run["ts"] + run["dur"]
        yield [
            _kernel(event, own[index])
            for index, event in enumerate(kernels)
            if run["ts"] <= event["ts"] < end
        ]


def _own_times(kernels: Sequence[dict[str, Any]]) -> list[float]:
    """Durations without those of kernels that ran inside, on the same thread."""
    own = [float(event["dur"]) for event in kernels]
    open_on: dict[Any, list[int]] = defaultdict(list)
    for index, event in enumerate(kernels):
        stack = open_on[event.get("tid")]
        while stack and kernels[stack[-1]]["ts"] + kernels[stack[-1]]["dur"] <= event["ts"]:
            stack.pop()
        if stack:
            own[stack[-1]] = max(0.0, own[stack[-1]] - event["dur"])
        stack.append(index)
    return own


def _kernel(event: dict[str, Any], micros: float) -> Kernel:
    facts = event.get("args", {})
    return Kernel(
        event["name"].removesuffix(_KERNEL),
        facts.get("op_name", "?"),
        facts.get("provider", "?"),
        micros,
        _shapes(facts.get("input_type_shape", ())),
        _shapes(facts.get("output_type_shape", ())),
    )


def _shapes(values: Iterable[dict[str, list[int]]]) -> tuple[Shape, ...]:
    return tuple(tuple(next(iter(value.values()), ())) for value in values)


def _sum(kernels: Iterable[Kernel]) -> int:
    return sum(flops(kernel.op, kernel.inputs, kernel.outputs) for kernel in kernels)


def _short(provider: str) -> str:
    return _SHORT.get(provider, provider)
