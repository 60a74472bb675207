"""Fixtures: the root of a cache, in a folder and behind a URL."""

import pytest

from tests.helpers.object_stores import s3_environment


@pytest.fixture
def url(tmp_path, monkeypatch):
    """The URL of an empty cache on a server that speaks S3."""
    for name, value in s3_environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://golds/{tmp_path.name}-{id(tmp_path)}"


@pytest.fixture(params=["disk", "s3"])
def root(request, tmp_path):
    """The root of an empty cache."""
    return tmp_path / "cache" if request.param == "disk" else request.getfixturevalue("url")
