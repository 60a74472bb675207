"""Choosing a method's parameters without a gold of any scored case."""
