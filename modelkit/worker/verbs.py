"""The verbs a worker runs, each a function of JSON values that returns a report."""

VERBS: dict[str, str] = {
    "convert": "modelkit.convert:convert_file",
    "formats": "modelkit.convert.frameworks:list_formats",
    "optimize": "modelkit.optimize:optimize_file",
    "share-cache": "modelkit.optimize.sharing:share_cache_file",
    "rewrites": "modelkit.optimize:list_rewrites",
    "fp16": "modelkit.precision:fp16_file",
    "quantize": "modelkit.quantize:quantize_file",
    "compare": "modelkit.comparison:compare_files",
    "bench": "modelkit.benchmark:bench_files",
    "merge": "modelkit.benchmark:merge_files",
    "run": "modelkit.inference:run_file",
    "diff": "modelkit.inspection:diff_files",
    "inspect": "modelkit.inspection:inspect_file",
    "tune": "modelkit.tune:measure_kernels",
    "doctor": "modelkit.doctor:examine",
}
