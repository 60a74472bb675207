"""Fixtures: a method in a file."""

import pytest

from mubench.method.discovery import load_method
from tests.helpers.methods import PLUGIN


@pytest.fixture
def plugin(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    return load_method(f"{file}:MyMethod")
