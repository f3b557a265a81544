"""Symbolic dims, and what each operator does to shapes and to the contents of shape tensors."""
