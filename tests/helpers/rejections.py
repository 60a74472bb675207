"""Records that are not believed."""

import re

from mubench.record.check import read_results


def only_rejected(lab, path):
    """The reason for which `path` is rejected, and nothing else is."""
    read = read_results(lab.results, [lab.task])
    (rejected,) = read.rejected
    assert rejected.file == path.relative_to(lab.results).as_posix()
    assert read.checked
    assert re.match(r"its? |\S+\.(json|npz) is ", rejected.reason), "a sentence of its own"
    return rejected.reason
