"""What was published before: the files of a folder as of a git revision, and what changed since."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mubench._util.errors import UserError


def commit_of(folder: Path) -> str | None:
    """The name of the commit that is checked out where a folder lies; None outside a repository."""
    command = ["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@dataclass(frozen=True)
class Change:
    """A file that differs from the base."""

    file: str
    """Path of the file under the folder, with slashes."""
    kind: Literal["added", "changed", "removed"]


class Base:
    """The last commit that a folder's branch shares with another revision.

    What was published on the other branch since that commit is not the doing of this branch.
    """

    def __init__(self, folder: Path, revision: str):
        """Finds the commit.

        Args:
            folder: a folder in a repository.
            revision: what git calls the other revision, such as `origin/main`.

        Raises:
            UserError: the folder is in no repository, or git does not know the revision.
        """
        self.folder = folder
        try:
            self.commit = self._git("merge-base", revision, "HEAD").decode().strip()
        except (OSError, subprocess.CalledProcessError):
            raise UserError(
                f"git cannot compare {folder} with {revision!r}: it must be in a clone that has "
                "fetched that revision, and a history in common with it"
            ) from None

    def changes(self) -> list[Change]:
        """All changes since the base: committed or not, new files included."""
        listed = self._git(
            "diff", "--relative", "--no-renames", "--name-status", "-z", self.commit, "--", "."
        )
        fields = os.fsdecode(listed).split("\0")
        found = [
            Change(file, "added" if kind == "A" else "removed" if kind == "D" else "changed")
            for kind, file in zip(fields[:-1:2], fields[1::2], strict=True)
        ]
        new = self._git("ls-files", "--others", "--exclude-standard", "-z")
        return found + [Change(file, "added") for file in os.fsdecode(new).split("\0")[:-1]]

    def files(self, subfolder: Path) -> list[str]:
        """The names of the files in a subfolder, as of the base."""
        listed = self._git("ls-tree", "--name-only", "-z", self.commit, f"{subfolder.as_posix()}/")
        return [Path(file).name for file in os.fsdecode(listed).split("\0")[:-1]]

    def read(self, file: Path) -> bytes:
        """The content of a file, given by its path under the folder, as of the base."""
        return self._git("show", f"{self.commit}:./{file.as_posix()}")

    def _git(self, *arguments: str) -> bytes:
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout
