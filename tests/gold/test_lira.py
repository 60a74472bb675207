"""The audit of a task: what it needs, and what it adds to records."""

import pytest

from mubench._util.errors import UserError
from mubench.gold.lira import Auditor


def test_an_audit_needs_three_golds(library):
    with pytest.raises(UserError, match="3 golds"):
        Auditor(library)
