"""The files of one run: code stays readable, all else is empty, nothing can be written outside."""

import os
import subprocess
import sys

import pytest

from tests.helpers.processes import ON_LINUX

pytestmark = pytest.mark.skipif(not ON_LINUX, reason="of Linux alone")

SETUP = """
import os, sys
from pathlib import Path
from mubench.run.isolation import private_files
root = Path(sys.argv[1])
private_files.SHARED_FOLDERS = (str(root / "shared"), str(root / "code"), str(root / "absent"))
code = [str(root / part) for part in ("code", "shared/deep/package", "shared/one.py", "gone")]
own, on_gpu = str(root / "shared/own"), "gpu" in sys.argv
obstacle = private_files.make_files_private(own, code, 1_000_000, on_gpu=on_gpu)
if obstacle:
    print(obstacle)
    sys.exit(3)
"""


def run_in(root, body, *options):
    """Runs code whose shared folders are below a root; skips where the system allows none."""
    for folder in ("shared/deep/package", "shared/deep/other", "shared/own", "code"):
        (root / folder).mkdir(parents=True)
    for file in ("shared/deep/package/a.py", "shared/one.py", "shared/left", "code/b.py"):
        (root / file).write_text(file)
    command = [sys.executable, "-c", SETUP + body, str(root), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_code_can_be_read_and_what_else_lay_there_cannot(tmp_path):
    found = run_in(
        tmp_path, 'print(*sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()))'
    )
    assert found == ["code/b.py", "shared/deep/package/a.py", "shared/one.py"]


def test_what_is_written_is_gone_with_the_process_and_code_cannot_be_written(tmp_path):
    said = run_in(
        tmp_path,
        """
for place in ("shared", "shared/own", "shared/deep", "code", "shared/deep/package", "."):
    try:
        (root / place / "new").write_text("new")
        print("wrote")
    except OSError:
        print("refused")
""",
    )
    assert said == ["wrote"] * 3 + ["refused"] * 3
    assert not list(tmp_path.rglob("new"))


def test_all_files_of_a_run_together_have_a_limit(tmp_path):
    said = run_in(
        tmp_path,
        """
(root / "shared/large").write_bytes(bytes(700_000))
try:
    (root / "shared/own/large").write_bytes(bytes(700_000))
except OSError as error:
    print(os.strerror(error.errno).replace(" ", "-"))
""",
    )
    assert said == [os.strerror(28).replace(" ", "-")]


@pytest.mark.parametrize(("options", "expected"), [((), "refused"), (("gpu",), "wrote")])
def test_with_a_gpu_a_process_can_write_of_itself_in_proc_and_of_nothing_else(
    tmp_path, options, expected
):
    said = run_in(
        tmp_path,
        """
for place in ("self/comm", "sys/kernel/domainname", "sysrq-trigger", "sys/vm/drop_caches"):
    try:
        with open(Path("/proc", place), "r+b" if place == "self/comm" else "wb", 0) as file:
            file.write(b"mine" if place == "self/comm" else b"")
        print("wrote")
    except OSError:
        print("refused")
""",
        *options,
    )
    assert said == [expected, "refused", "refused", "refused"]
