"""The processes of a test run, known by a word in their environment."""

import os
import sys
from pathlib import Path

ON_LINUX = sys.platform == "linux"
TOKEN = f"TOKEN_OF_TEST_{os.getpid()}"


def tokened(token: str = TOKEN) -> set[int]:
    """The processes that stem from an isolation of this test run, whoever their parent is now."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if token.encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def of_session(session: int) -> set[int]:
    """The processes of a session, also those that have written over their environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[3]) == session:
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def command_of(pid: int) -> str:
    """The command line of a process; empty if the process is gone."""
    try:
        content = (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return content.replace(b"\0", b" ").decode(errors="replace").strip()
