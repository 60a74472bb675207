"""Conformance checks: trial runs of a method, their side effects, and a verdict per check."""
