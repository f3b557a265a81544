"""``fp16``: half precision that is proven right."""
