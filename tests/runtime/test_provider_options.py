import pytest

from modelkit.errors import UsageError
from modelkit.runtime.provider_options import SCHEMAS, read_options
from modelkit.runtime.providers import PROVIDERS, parse

ROWS = parse("cpu,cuda,tensorrt+cuda,openvino")


def test_options_by_provider() -> None:
    texts = [
        "cuda.device_id=1",
        "cuda.arena_extend_strategy=kSameAsRequested",
        "tensorrt.trt_fp16_enable=1",
    ]
    assert read_options(texts, ROWS) == {
        "cuda": {"device_id": "1", "arena_extend_strategy": "kSameAsRequested"},
        "tensorrt": {"trt_fp16_enable": "1"},
    }


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("cuda.device_idd=1", "no option 'device_idd'", "did you mean 'cuda.device_id'?"),
        ("cuda.use_tf32=maybe", "no such value", "0 or 1"),
        ("cuda.device_id=one", "no such value", "a whole number"),
        ("cuda.cudnn_conv_algo_search=FAST", "no such value", "EXHAUSTIVE or HEURISTIC"),
        ("device_id=1", "not EP.key=value", "cuda.device_id=0"),
        ("cuda.device_id", "not EP.key=value", ""),
        ("coreml.ModelFormat=MLProgram", "not asked for", "--providers coreml"),
        ("cpu.threads=1", "no option 'threads'", "it has: none"),
        ("tensorrt.trt_engine_cache_path=/x", "not for the user", "--cache"),
        ("gpu.x=1", "unknown provider", ""),
    ],
)
def test_bad_options_are_usage_errors(text: str, words: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_options([text], ROWS)
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_a_provider_only_this_build_knows_takes_anything() -> None:
    rows = parse("VitisAIExecutionProvider")
    assert read_options(["VitisAIExecutionProvider.config=a.json"], rows) == {
        "vitisai": {"config": "a.json"}
    }


def test_every_schema_is_of_a_known_provider() -> None:
    assert set(SCHEMAS) <= {provider.name for provider in PROVIDERS}
