"""The command line: each command parses, calls one room and prints."""

from .main import main

__all__ = ["main"]
