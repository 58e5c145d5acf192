"""Which instruction set the kernels use. Results do not depend on it; the widest available one is chosen at import."""

from __future__ import annotations

from sonod.cext._native import instruction_set, instruction_sets, select_instruction_set

__all__ = ["instruction_set", "instruction_sets", "select_instruction_set"]
