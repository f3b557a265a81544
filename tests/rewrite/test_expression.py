from modelkit.rewrite import Expr, either, op


def test_python_reads_as_operators() -> None:
    x, y = Expr(name="x"), Expr(name="y")
    found = [e.op for e in (x + y, 1 + x, x * 2, 2 * x, x - y, 1 - x, x / 2, 1 / x, x**2, -x)]
    assert found == ["Add", "Add", "Mul", "Mul", "Sub", "Sub", "Div", "Div", "Pow", "Neg"]
    made = op.QuickGelu(x, alpha=1.0, _domain="com.microsoft")
    assert (made.op, made.domain, made.attributes) == (
        "QuickGelu",
        "com.microsoft",
        {"alpha": 1.0},
    )


def test_size_counts_operators_and_the_largest_alternative() -> None:
    x = Expr(name="x")
    assert x.size() == 0
    assert (x * (x + 1)).size() == 2
    assert op.Erf(either(x, x / 2, (x + 1) * 2)).size() == 3


def test_naming_and_sharing_leave_the_original_alone() -> None:
    x = Expr("Neg")
    assert x.named("n").name == "n"
    assert x.shared().is_shared
    assert (x.name, x.is_shared) == ("", False)
