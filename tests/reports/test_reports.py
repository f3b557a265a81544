import json

from modelkit.reports import (
    BenchPoint,
    BenchReport,
    BenchRow,
    Change,
    FileFacts,
    InspectReport,
    Interval,
    NearMiss,
    OptimizeReport,
    OutputError,
    SpeedVerdict,
    Trial,
    ValueFacts,
    Verification,
    from_json,
    to_json,
)

FACTS = FileFacts("m.onnx", 10, 2, 3, {"": 20}, 10, {"com.microsoft.Gelu": 1}, "1.17")
GOOD = OutputError("y", "relative", 1e-7, 1e-5, True)
BAD = OutputError("z", "sqnr", 9.0, 15.0, False)
CHECK = Verification("optimize", "1e-5", False, "seeded", (Trial({"x": [2, 3]}, 0, (GOOD, BAD)),))
OPTIMIZED = OptimizeReport(
    FACTS, FACTS, "all", "cpu", (Change("gelu_erf", 2, ("a",)),), (NearMiss("f", "n", "r"),),
    {"Erf": 1}, {"Gelu": 1}, CHECK, SpeedVerdict(Interval(1.2, 1.1, 1.3), True, ""),
)  # fmt: skip
ROW = BenchRow("a", "cpu", 1, 1.0, 1.0, 1.0, 1.0, 1.0, Interval(1, 1, 1), 9, 2.0, 3.0, 4.0)


def test_reports_survive_json() -> None:
    inspect = InspectReport(
        FACTS, "torch", (ValueFacts("x", "float32", ("batch", 3)),), (), {"Add": 1}, {"float32": 4},
        (("w", "float32[1]", 4),), ("convert",), (),
    )  # fmt: skip
    bench = BenchReport("cpu", "1.31", 1, (BenchPoint({"n": 1}, {"x": [1]}, 1, (ROW,)),))
    for report in (OPTIMIZED, inspect, bench):
        assert from_json(json.loads(json.dumps(to_json(report)))) == report


def test_json_names_its_kind_and_version() -> None:
    fields = to_json(OPTIMIZED)
    assert fields["kind"] == "OptimizeReport"
    assert fields["schema_version"] == 1


def test_the_worst_error_is_the_one_furthest_past_its_limit() -> None:
    assert CHECK.worst == BAD
    only_good = Verification("optimize", "1e-5", True, "", (Trial({}, 0, (GOOD,)),))
    assert only_good.worst == GOOD
    assert Verification("optimize", "1e-5", True, "", ()).worst is None


def test_a_missing_speed_ratio_survives() -> None:
    verdict = SpeedVerdict(None, True, "tiny")
    assert from_json(json.loads(json.dumps(to_json(verdict)))) == verdict
