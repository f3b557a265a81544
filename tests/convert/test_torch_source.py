import torch

from modelkit.convert.precision import Held
from modelkit.convert.source import Options
from modelkit.convert.torch_source import source_of
from modelkit.model import InputSpec
from tests.convert import samples

SPECS = (InputSpec("x", "float32", ("batch", 8)),)


def test_the_judge_is_what_the_result_is_compared_with() -> None:
    sample = [torch.ones(2, 8)]
    judge, module = samples.linear().eval(), samples.Linear().eval()
    source = source_of(
        "title", module, SPECS, ["y"], sample, Options(), Held("", 0), judge=judge,
        metadata={"a": "b"},
    )  # fmt: skip
    assert source.reference is not None
    found = source.reference({"x": sample[0].numpy()})["y"]
    torch.testing.assert_close(torch.from_numpy(found), judge(sample[0]).detach())
    assert source.metadata == {"a": "b"}
    assert source.step == "convert"


def test_half_precision_has_a_tolerance_of_its_own() -> None:
    held = Held("float16", 100)
    source = source_of(
        "title", samples.linear().eval(), SPECS, ["y"], [torch.ones(2, 8)],
        Options(dtype="source"), held,
    )  # fmt: skip
    assert source.step == "fp16"
    assert all(route.remarks is None for route in source.routes)
