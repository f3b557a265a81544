"""Write a transposed product of transposed matrices as the product of both the other way round.

Why: an Einsum such as ``aecd,abcd->acbe`` becomes the keys times the queries, whose scores are then
transposed; the two operands are transposed anyway, so that one of three copies goes, the largest,
and attention is found behind it.
Equal: the same sums, up to their order.
"""

from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "basic"
ORDER = -2  # before masks and attention are looked for


def before(a: Expr, b: Expr, scale: Expr) -> Expr:
    product = op.MatMul(op.Transpose(a).named("left"), op.Transpose(b).named("right"))
    return op.Transpose(either(product * scale, product)).named("moved")


def when(scale: Capture, left: Capture, right: Capture, moved: Capture) -> str | None:
    if scale.value is not None and (scale.const is None or scale.const.size != 1):
        return "what the product is multiplied by is not one number"
    orders = [part.attrs.get("perm") for part in (left, right, moved)]
    if any(order is None for order in orders):
        return "an order of axes is not said"
    counts = {len(order) for order in orders if order is not None}
    order = list(orders[2] or ())
    if len(counts) != 1 or order != _swapped(list(range(len(order)))):
        return "it is not the last two axes that change places"
    return None


def _swapped(order: list[int]) -> list[int]:
    return [*order[:-2], order[-1], order[-2]]


def after(a: Capture, b: Capture, scale: Capture, left: Capture, right: Capture) -> Expr:
    first = op.Transpose(b, perm=_swapped(list(right.attrs["perm"])))
    product = op.MatMul(first, op.Transpose(a, perm=_swapped(list(left.attrs["perm"]))))
    return product if scale.value is None else product * scale
