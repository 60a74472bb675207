"""Conformance: trial runs of a method, what was seen, and the verdicts."""
