"""Entries as objects behind a URL, such as `s3://bucket/folder`, for hosts that share no disk.

- The files of an entry are objects under a random name. The manifest is written last and says that
  name. There is an entry if and only if there is its manifest.
- Writing one object is all or nothing, so a reader finds the old manifest or the new one.
- The manifest is written on the condition that there is none, so of two writers the first wins.
  A service without such conditions may let the last one win. Either entry is whole.
- A reader that meets an entry which another process replaces meanwhile reads it again.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import uuid4

from mubench._util.errors import UserError

from .disk import LEFTOVER_SECONDS
from .manifest import MANIFEST, Damaged, Entry, assemble, load_settled, parse_manifest

EXTRAS = {"s3": "mubench[s3]", "s3a": "mubench[s3]"}
"""What to install for a kind of URL."""

FOLDER = "folder"
"""Field of a manifest: the random name under which the entry's files lie."""


class Objects:
    """Entries as objects `<url>/<kind>/<key>/<random name>/<file>`, each with its manifest."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")

    def holds(self, entry: str) -> bool:
        """True if there is such an entry, `<kind>/<key>`. Its files are not checked."""
        return self._manifest(entry) is not None

    def load(self, entry: str) -> Entry | None:
        """Reads an entry, `<kind>/<key>`; None if there is none.

        Raises:
            Damaged: the entry is not whole.
        """

        def load(manifest: bytes) -> Entry:
            place = f"{entry}/{_folder(manifest)}"
            return assemble(
                f"{self.url}/{entry}",
                manifest,
                lambda name: self._call("cat_file", f"{place}/{name}"),
            )

        return load_settled(lambda: self._manifest(entry), load)

    def publish(self, entry: str, files: Mapping[str, bytes], replace: bool) -> bool:
        """Makes an entry, whole or not at all.

        Args:
            entry: `<kind>/<key>`.
            files: content by file name, with the manifest.
            replace: True to replace an entry that is there.

        Returns:
            False if there is an entry that is not to be replaced.
        """
        folder = uuid4().hex
        manifest = json.dumps(json.loads(files[MANIFEST]) | {FOLDER: folder}, indent=1).encode()
        before = self._manifest(entry)
        if before is not None and not replace:
            return False
        try:
            for name, content in files.items():
                if name != MANIFEST:
                    self._call("pipe_file", f"{entry}/{folder}/{name}", content)
            mode = "overwrite" if replace else "create"
            self._call("pipe_file", f"{entry}/{MANIFEST}", manifest, mode=mode)
        except FileExistsError:  # another writer was first
            self._delete_files(entry, folder)
            return False
        except BaseException:  # such as Ctrl-C
            with suppress(UserError):
                self._delete_files(entry, folder)
            raise
        if before is not None:
            self._delete_files(entry, _folder(before))
        return True

    def discard_damaged(self, entry: str) -> None:
        """Removes a damaged entry, unless another process has put a whole one there meanwhile."""
        try:
            self.load(entry)
        except Damaged:
            self.remove(entry)

    def remove(self, entry: str) -> None:
        """Removes an entry. Does nothing if there is none."""
        manifest = self._manifest(entry)
        if manifest is not None:
            with suppress(FileNotFoundError):
                self._call("rm_file", f"{entry}/{MANIFEST}")
            self._delete_files(entry, _folder(manifest))

    def prepare(self, entry: str) -> None:
        """Deletes what killed processes of any host have left of an entry, `<kind>/<key>`.

        Raises:
            UserError: nothing can be written there. So that is said before the hours of a training.
        """
        probe = f"{entry}/{uuid4().hex}"
        self._call("pipe_file", probe, b"probe")
        self._call("rm_file", probe)
        manifest = self._manifest(entry)
        kept = {MANIFEST, _folder(manifest) if manifest else MANIFEST}
        oldest = datetime.now(UTC) - timedelta(seconds=LEFTOVER_SECONDS)
        for path in self._find(entry):
            place = path.partition(f"/{entry}/")[2]
            if place.partition("/")[0] not in kept:
                with suppress(FileNotFoundError):  # another process sweeps too
                    if self._call("modified", f"{entry}/{place}") < oldest:
                        self._call("rm_file", f"{entry}/{place}")

    def _manifest(self, entry: str) -> bytes | None:
        try:
            content: bytes = self._call("cat_file", f"{entry}/{MANIFEST}")
        except FileNotFoundError:
            return None
        return content

    def _find(self, path: str) -> list[str]:
        """The objects below a path, as the service names them."""
        try:
            found: list[str] = self._call("find", path)
        except FileNotFoundError:
            return []
        return found

    def _delete_files(self, entry: str, folder: str) -> None:
        """Deletes the objects of an entry that lie under a random name."""
        for path in self._find(f"{entry}/{folder}") if folder else ():
            with suppress(FileNotFoundError):
                self._call("rm_file", f"{entry}/{folder}/{path.rpartition('/')[2]}")

    @cached_property
    def _root(self) -> tuple[Any, str]:
        """The file system behind the URL, and the root's path in it."""
        import fsspec  # here: slow to import, and only a cache behind a URL needs it

        scheme = self.url.partition("://")[0]
        try:
            # Other hosts write too, so a listing is never remembered.
            files, path = fsspec.url_to_fs(self.url, use_listings_cache=False)
        except ImportError:
            package = EXTRAS.get(scheme, f"fsspec[{scheme}]")
            raise UserError(f"the cache {self.url} needs: pip install '{package}'") from None
        except ValueError as error:
            raise UserError(f"the cache {self.url}: {error}") from None
        return files, path

    def _call(self, name: str, path: str, *values: object, **options: object) -> Any:
        """Calls a function of the file system on a path below the root.

        Raises:
            FileNotFoundError: there is no such object to be read or deleted.
            FileExistsError: there is one, and there was to be none.
            UserError: the service cannot be reached, or refuses.
        """
        files, root = self._root
        try:
            return getattr(files, name)(f"{root}/{path}", *values, **options)
        except FileExistsError:
            raise
        except Exception as error:  # each service has errors of its own
            if isinstance(error, FileNotFoundError) and name != "pipe_file":
                raise  # for an object to be written, it is the bucket that is not there
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise UserError(
                f"the cache {self.url} cannot be used ({reason}); check the address and the "
                "credentials, or set MUBENCH_CACHE to a folder"
            ) from None


def _folder(manifest: bytes) -> str:
    """The random name that a manifest says; an empty text if it says none."""
    stored = parse_manifest(manifest)
    return str(stored.get(FOLDER, "")) if stored else ""
