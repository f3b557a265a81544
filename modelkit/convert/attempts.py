"""Try the ways to ONNX one after the other; the first whose result is proven right is written."""

from pathlib import Path

from modelkit import progress
from modelkit.convert.export_errors import NO_OPERATOR
from modelkit.convert.source import Options, Route, Source
from modelkit.deliver import Delivery, Terms, deliver
from modelkit.errors import BadInput, CheckFailed, ModelkitError, Unsupported
from modelkit.model import Model, add_step, strip_debug, write_inputs
from modelkit.model.walk import inside
from modelkit.passes.convert_opset import convert_opset
from modelkit.passes.keep_paddings import keep_paddings
from modelkit.reports import Attempt
from modelkit.runtime.data.settings import keep_settings
from modelkit.runtime.feeds import Proposal
from modelkit.safe import safe

# A parity failure says more about a model than an exporter's refusal.
_TELLING = ("outputs-differ", "training-mode")


def first_right(
    loaded: Source,
    source: str,
    target: Path,
    terms: Terms,
    *,
    recipe: dict[str, object],
    digest: str,
    options: Options,
) -> tuple[Delivery, Model, tuple[Attempt, ...], tuple[str, ...]]:
    """Export, compare and write.

    Returns:
        the delivery, the model written, every attempt in order, and notes on what was lost.

    Raises:
        CheckFailed, Unsupported, BadInput: no way led to a right result; nothing was written.
    """
    attempts: list[Attempt] = []
    failures: list[ModelkitError] = []
    proven = "verified" if terms.verify else "not verified"
    for route in loaded.routes:
        if route.inputs and all(failure.code == NO_OPERATOR for failure in failures):
            continue
        progress.step(f"export by {route.name}")
        try:
            model = _exported(route, loaded, options.opset)
            kept = keep_paddings(model).notes
            folder = Path(source) if Path(source).is_dir() else None
            keep_settings(model, options.preprocessing, folder)
            decisions = [f"{a.route}: {a.outcome}" for a in attempts] + [f"{route.name}: {proven}"]
            add_step(model, "convert", recipe, digest, decisions)
            delivery = deliver(
                model,
                target,
                terms,
                step=loaded.step,
                source=Path(source) if loaded.reference is None else None,
                reference=loaded.reference,
                specs=route.inputs or loaded.inputs,
                untimed="nothing to be slower than",
                proposal=_proposal(loaded, terms),
            )
        except (CheckFailed, Unsupported, BadInput) as error:
            failures.append(error)
            attempts.append(Attempt(route.name, f"refused: {_reason(error)}"))
            continue
        attempts.append(Attempt(route.name, proven))
        remarks = (*kept, *(route.remarks(model) if route.remarks else ()))
        return delivery, model, tuple(attempts), (*([route.note] if route.note else []), *remarks)
    raise _no_way(source, failures, attempts, loaded.advice)


def _proposal(loaded: Source, terms: Terms) -> Proposal | None:
    """The source's own inputs, those of a seed where it has none."""
    if not loaded.trials:
        return None
    trials = tuple((feeds, terms.seed + number) for number, feeds in enumerate(loaded.trials))
    return Proposal(trials, loaded.origin)


def _exported(route: Route, loaded: Source, opset: int | None) -> Model:
    model = route.export()
    strip_debug(model)
    refuse_training(model)
    if opset is not None:
        convert_opset(model, opset)
    inputs = route.inputs or loaded.inputs
    if inputs:
        write_inputs(model, inputs)
    model.metadata_props.update(loaded.metadata)
    return model


def refuse_training(model: Model) -> None:
    """Refuse a graph with operators in training mode: it changes from run to run.

    Raises:
        CheckFailed: naming the node.
    """
    for node in inside(model.graph):
        training = node.attributes.get_int("training_mode", 0) != 0
        dropped = node.op_type == "Dropout" and len(node.inputs) > 2 and node.inputs[2] is not None
        if dropped:
            held = node.inputs[2].const_value if node.inputs[2] else None
            training = held is None or bool(held.numpy().any())
        if node.op_type in ("BatchNormalization", "Dropout") and training:
            raise CheckFailed(
                f"{node.op_type} '{safe(node.name or '')}' is in training mode",
                cause="its outputs would change from run to run",
                hint="call eval() on the module before it is saved, or in the function",
                code="training-mode",
            )


def _reason(error: ModelkitError) -> str:
    return f"{error.message}: {error.cause}" if error.cause else error.message


def _no_way(
    source: str, failures: list[ModelkitError], attempts: list[Attempt], advice: str
) -> ModelkitError:
    """The most telling failure, with the reason of each route once."""
    telling = next((f for f in failures if f.code in _TELLING), failures[0])
    if advice and telling.code == "outputs-differ":
        telling.hint = f"{telling.hint}; {advice}"
    if len(failures) == 1:
        return telling
    reasons: dict[str, list[str]] = {}
    for attempt, failure in zip(attempts, failures, strict=True):
        reasons.setdefault(failure.cause or failure.message, []).append(attempt.route)
    return type(telling)(
        f"{safe(source)} could not be converted: {telling.message}",
        cause="; ".join(f"{' and '.join(routes)}: {why}" for why, routes in reasons.items()),
        hint=telling.hint,
        code=telling.code,
    )
