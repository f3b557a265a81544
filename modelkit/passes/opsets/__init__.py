"""Older and newer forms of operators, for :mod:`modelkit.passes.convert_opset`."""
