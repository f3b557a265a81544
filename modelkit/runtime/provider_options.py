"""The options each execution provider takes, as data, and the reading of what a user typed.

Names and values are those of ONNX Runtime 1.31; sources: the pages of each provider under
onnxruntime.ai/docs/execution-providers, and include/onnxruntime/core/session in its source.
"""

import difflib
from collections.abc import Iterable, Mapping

from modelkit.errors import UsageError
from modelkit.runtime.providers import Provider, parse
from modelkit.safe import safe

Options = Mapping[str, Mapping[str, str]]
"""Short name of a provider to its options."""

FLAG, WHOLE, TEXT = "flag", "whole", "text"

_CUDA = {
    "device_id": WHOLE,
    "gpu_mem_limit": WHOLE,
    "arena_extend_strategy": "kNextPowerOfTwo|kSameAsRequested",
    "cudnn_conv_algo_search": "EXHAUSTIVE|HEURISTIC|DEFAULT",
    "cudnn_conv_use_max_workspace": FLAG,
    "cudnn_conv1d_pad_to_nc1d": FLAG,
    "do_copy_in_default_stream": FLAG,
    "enable_cuda_graph": FLAG,
    "enable_skip_layer_norm_strict_mode": FLAG,
    "fuse_conv_bias": FLAG,
    "prefer_nhwc": FLAG,
    "sdpa_kernel": WHOLE,
    "tunable_op_enable": FLAG,
    "tunable_op_tuning_enable": FLAG,
    "tunable_op_max_tuning_duration_ms": WHOLE,
    "use_ep_level_unified_stream": FLAG,
    "use_tf32": FLAG,
}
_TENSORRT = {
    "device_id": WHOLE,
    "trt_auxiliary_streams": WHOLE,
    "trt_bf16_enable": FLAG,
    "trt_build_heuristics_enable": FLAG,
    "trt_builder_optimization_level": WHOLE,
    "trt_context_memory_sharing_enable": FLAG,
    "trt_cuda_graph_enable": FLAG,
    "trt_detailed_build_log": FLAG,
    "trt_dla_core": WHOLE,
    "trt_dla_enable": FLAG,
    "trt_dump_ep_context_model": FLAG,
    "trt_dump_subgraphs": FLAG,
    "trt_engine_hw_compatible": FLAG,
    "trt_ep_context_embed_mode": WHOLE,
    "trt_ep_context_file_path": TEXT,
    "trt_extra_plugin_lib_paths": TEXT,
    "trt_force_sequential_engine_build": FLAG,
    "trt_force_timing_cache": FLAG,
    "trt_fp16_enable": FLAG,
    "trt_int8_calibration_table_name": TEXT,
    "trt_int8_enable": FLAG,
    "trt_int8_use_native_calibration_table": FLAG,
    "trt_layer_norm_fp32_fallback": FLAG,
    "trt_max_partition_iterations": WHOLE,
    "trt_max_workspace_size": WHOLE,
    "trt_min_subgraph_size": WHOLE,
    "trt_op_types_to_exclude": TEXT,
    "trt_preview_features": TEXT,
    "trt_profile_max_shapes": TEXT,
    "trt_profile_min_shapes": TEXT,
    "trt_profile_opt_shapes": TEXT,
    "trt_sparsity_enable": FLAG,
    "trt_tactic_sources": TEXT,
    "trt_weight_stripped_engine_enable": FLAG,
}

SCHEMAS: dict[str, dict[str, str]] = {
    "cpu": {},
    "cuda": _CUDA,
    "tensorrt": _TENSORRT,
    "nvtensorrtrtx": {
        "device_id": WHOLE,
        "enable_cuda_graph": FLAG,
        "nv_detailed_build_log": FLAG,
        "nv_dump_subgraphs": FLAG,
        "nv_max_workspace_size": WHOLE,
        "nv_profile_max_shapes": TEXT,
        "nv_profile_min_shapes": TEXT,
        "nv_profile_opt_shapes": TEXT,
    },
    "openvino": {
        "cache_dir": TEXT,
        "context": TEXT,
        "device_type": TEXT,
        "disable_dynamic_shapes": "True|False|true|false",
        "enable_qdq_optimizer": "True|False|true|false",
        "layout": TEXT,
        "load_config": TEXT,
        "model_priority": "LOW|MEDIUM|HIGH|DEFAULT",
        "num_of_threads": WHOLE,
        "num_streams": WHOLE,
        "precision": "FP32|FP16|ACCURACY",
        "reshape_input": TEXT,
    },
    "directml": {
        "device_filter": "any|gpu|npu",
        "device_id": WHOLE,
        "disable_metacommands": "True|False|true|false",
        "enable_graph_capture": "True|False|true|false",
        "performance_preference": "default|high_performance|minimum_power",
    },
    "coreml": {
        "AllowLowPrecisionAccumulationOnGPU": FLAG,
        "EnableOnSubgraphs": FLAG,
        "MLComputeUnits": "ALL|CPUOnly|CPUAndGPU|CPUAndNeuralEngine",
        "ModelCacheDirectory": TEXT,
        "ModelFormat": "MLProgram|NeuralNetwork",
        "ProfileComputePlan": FLAG,
        "RequireStaticInputShapes": FLAG,
        "SpecializationStrategy": "Default|FastPrediction",
    },
    "rocm": {
        "arena_extend_strategy": "kNextPowerOfTwo|kSameAsRequested",
        "device_id": WHOLE,
        "gpu_mem_limit": WHOLE,
        "miopen_conv_exhaustive_search": FLAG,
        "tunable_op_enable": FLAG,
        "tunable_op_tuning_enable": FLAG,
    },
    "migraphx": {
        "device_id": WHOLE,
        "migraphx_bf16_enable": FLAG,
        "migraphx_exhaustive_tune": FLAG,
        "migraphx_fp16_enable": FLAG,
        "migraphx_int8_enable": FLAG,
        "migraphx_model_cache_dir": TEXT,
    },
    "qnn": {
        "backend_path": TEXT,
        "backend_type": "cpu|gpu|htp|saver|ir",
        "device_id": WHOLE,
        "enable_htp_fp16_precision": FLAG,
        "htp_arch": TEXT,
        "htp_graph_finalization_optimization_mode": "0|1|2|3",
        "htp_performance_mode": TEXT,
        "offload_graph_io_quantization": FLAG,
        "profiling_level": "off|basic|detailed|optrace",
        "soc_model": TEXT,
        "vtcm_mb": WHOLE,
    },
    "dnnl": {"num_of_threads": WHOLE, "use_arena": FLAG},
    "xnnpack": {"intra_op_num_threads": WHOLE},
    "webgpu": {
        "deviceId": WHOLE,
        "enableGraphCapture": FLAG,
        "preferredLayout": "NCHW|NHWC",
        "validationMode": "disabled|wgpuOnly|basic|full",
    },
}
"""Provider to option to kind: a flag (0 or 1), a whole number, text, or its choices with ``|``."""

# TensorRT's caches are folders modelkit makes and knows; an engine from elsewhere is code.
_OURS = {
    "trt_engine_cache_enable",
    "trt_engine_cache_path",
    "trt_engine_cache_prefix",
    "trt_timing_cache_enable",
    "trt_timing_cache_path",
    "trt_engine_decryption_enable",
    "trt_engine_decryption_lib_path",
}


def read_options(
    texts: Iterable[str], rows: Iterable[tuple[Provider, ...]]
) -> dict[str, dict[str, str]]:
    """``["cuda.device_id=1"]`` as provider to options, each checked.

    Raises:
        UsageError: not of that form, of a provider that no row has, or no such option or value.
    """
    used = {provider.name for row in rows for provider in row}
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        name, dot, key = place.partition(".")
        if not (equals and dot and key):
            raise UsageError(
                f"--provider-option {safe(text)} is not EP.key=value",
                hint="write it as --provider-option cuda.device_id=0",
            )
        provider = parse(name)[0][0]
        if provider.name not in used:
            raise UsageError(
                f"--provider-option {safe(text)} is for a provider that is not asked for",
                hint=f"add it: --providers {provider.name}",
            )
        found.setdefault(provider.name, {})[key] = _checked(provider.name, key, value)
    return found


def _checked(provider: str, key: str, value: str) -> str:
    schema = SCHEMAS.get(provider)
    if schema is None:
        return value  # a provider that this build lists and we know nothing of
    if key in _OURS:
        raise UsageError(
            f"{key} is not for the user to set",
            cause="modelkit keys its caches by model and versions, and loads only those it wrote",
            hint="--cache FOLDER says where they lie",
        )
    if key not in schema:
        near = difflib.get_close_matches(key, schema, n=1)
        known = ", ".join(sorted(schema)) or "none"
        hint = f"did you mean '{provider}.{near[0]}'?" if near else f"it has: {known}"
        raise UsageError(f"the provider '{provider}' has no option '{safe(key)}'", hint=hint)
    kind = schema[key]
    fits = {
        FLAG: value in ("0", "1", "true", "false", "True", "False"),
        WHOLE: value.removeprefix("-").isdecimal(),
        TEXT: bool(value),
    }.get(kind, value in kind.split("|"))
    if not fits:
        wanted = {FLAG: "0 or 1", WHOLE: "a whole number", TEXT: "some text"}
        raise UsageError(
            f"--provider-option {provider}.{key}={safe(value)}: no such value",
            hint=f"it takes {wanted.get(kind, kind.replace('|', ' or '))}",
        )
    return value
