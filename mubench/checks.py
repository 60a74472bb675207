"""The checks of `mubench check`, for a method's own tests."""

from .method.checks.checks import parametrize_with_checks

__all__ = ["parametrize_with_checks"]
