"""Bundles: originals and readouts of some cases as one file, to be shared.

A bundle has the weights of the originals, and the readouts of the golds. It also has the readouts
of the originals on the cases that start from them, because "doing nothing" is scored in every
record.

Nothing in a bundle is believed. All of it is checked before anything is taken in:

- Every name is a kind, a key, and a file that entries of that kind have.
- The content of each file has the SHA-256 that the entry's manifest states.
- A model's weights are safetensors, and its key follows from the identity that it states.
- A readout is one, and its key follows from the model's identity and the data that it states.

What a bundle can still claim: that a readout is of the model that it names, and that weights are
those of a training. `mubench gold verify` checks both, as far as the weights are here.
"""

import io
import lzma
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from mubench._util.backends.manifest import MANIFEST, parse_manifest
from mubench._util.cache import Store
from mubench._util.errors import DoesNotHold, UserError
from mubench._util.hashing import digest, sha256_of
from mubench.record.readout import parse_readout
from mubench.task.installed import installed_tasks
from mubench.task.spec import Case
from mubench.training.loop import EpochLog

from .identity import readout_key
from .library import MODELS, READOUT, READOUTS, WEIGHTS, GoldLibrary

FILES = {MODELS: WEIGHTS, READOUTS: READOUT}
"""Kind of an entry to the one file that such an entry has besides its manifest."""

NAME = re.compile(r"(?P<kind>models|readouts)/(?P<key>[0-9a-f]{64})/(?P<file>[a-z.]+)")
"""What the name of a file in a bundle looks like."""

MOST_BYTES = 4_000_000_000
"""Most bytes that a bundle may unpack to: a hundred times what the largest task here needs."""


MOST_RATIO = 100
"""Most times that a file in a bundle may unpack to its packed size. Weights hardly pack at all."""


def export_bundle(
    library: GoldLibrary, cases: Sequence[Case], path: Path, *, weights: bool = True
) -> int:
    """Writes the weights of the originals and the readouts of some cases as one file.

    Readouts of originals that only runs with other seeds than 0 start from come along if cached.

    Args:
        library: where the models are kept.
        cases: whose readouts.
        path: the file to write.
        weights: False to leave out the weights of the originals, such as where another task that
            shares them has a bundle.

    Returns:
        The size of the file in bytes.

    Raises:
        UserError: a model that belongs into the bundle is not cached.
    """
    loaded, store = library.loaded, library.store
    absent = library.missing(cases)
    if absent:
        raise UserError(
            f"not cached: {', '.join(ref.label for ref in absent)}; "
            f"`mubench gold build --task {loaded.task.name}` trains them"
        )
    wanted = [(MODELS, ref.key) for ref in loaded.originals if weights]
    for case in cases:
        for ref in loaded.golds(case):
            library.readout(ref, case)  # makes the readout if only the weights are cached
            wanted.append((READOUTS, loaded.readout_key(ref, case)))
        library.readout(loaded.original(case, seed=0), case)
        keys = (loaded.readout_key(ref, case) for ref in loaded.originals)
        wanted += [(READOUTS, key) for key in keys if store.holds(READOUTS, key)]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for kind, key in wanted:
            entry = store.read(kind, key)
            assert entry
            for name, content in entry.sealed().items():
                bundle.writestr(f"{kind}/{key}/{name}", content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return path.stat().st_size


def import_bundle(store: Store, path: Path, *, replace: bool = True) -> tuple[int, int]:
    """Takes the entries of a bundle into the cache, after all of them are checked.

    Args:
        store: the cache.
        path: the bundle.
        replace: True to have published models take the place of own ones, so that the scores are
            the published ones.

    Returns:
        How many models and how many readouts came in.

    Raises:
        DoesNotHold: the file is no bundle, or something in it is not what it says. Nothing was
            taken in.
    """
    entries: dict[tuple[str, str], dict[str, bytes]] = defaultdict(dict)
    for name, content in _contents(path):
        match = NAME.fullmatch(name)
        if not match or match["file"] not in (MANIFEST, FILES[match["kind"]]):
            raise DoesNotHold(f"{path} is not a bundle: it holds {name!r}")
        entry = entries[match["kind"], match["key"]]
        if match["file"] in entry:
            raise DoesNotHold(f"{path} is not a bundle: it holds {name!r} twice")
        entry[match["file"]] = content
    if not entries:
        raise DoesNotHold(f"{path} is not a bundle: it holds nothing")
    checked = []
    for (kind, key), files in entries.items():
        try:
            checked.append((kind, key, *_checked(kind, key, files)))
        except DoesNotHold as error:
            raise DoesNotHold(f"{path}: {kind}/{key[:16]}: {error}") from None
    kinds = []
    for kind, key, content, provenance in checked:
        if replace or not store.holds(kind, key):
            store.write(kind, key, {FILES[kind]: content}, provenance, replace=replace)
            kinds.append(kind)
    return kinds.count(MODELS), kinds.count(READOUTS)


def _contents(path: Path) -> Iterable[tuple[str, bytes]]:
    """Name and content of each file in an archive.

    Raises:
        DoesNotHold: the archive cannot be read, is encrypted, or is far too large.
    """
    if not path.is_file():  # such as a pipe, which would be waited for forever
        raise DoesNotHold(f"{path} is not a bundle: it is no file")
    try:
        with zipfile.ZipFile(path) as bundle:
            members = bundle.infolist()
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise DoesNotHold(f"{path} is not a bundle: it unpacks to more than 4 GB")
            for member in members:
                # The other ways of packing have parsers that can fill the memory, or raise more.
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise DoesNotHold(f"{path} is not a bundle: its compression is of another kind")
                if member.file_size > 1_000_000 + MOST_RATIO * member.compress_size:
                    raise DoesNotHold(f"{path} is not a bundle: it unpacks to far too much")
            return [(member.filename, bundle.read(member)) for member in members]
    except DoesNotHold:
        raise
    except (
        # ValueError: a name that is no text, or a place before the beginning
        OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError
    ) as error:  # fmt: skip
        raise DoesNotHold(f"{path} is not a bundle: {error}") from None


def _checked(kind: str, key: str, files: Mapping[str, bytes]) -> tuple[bytes, dict[str, Any]]:
    """The content and the provenance of an entry.

    Raises:
        DoesNotHold: the entry is not what it says, in a sentence in which "it" is the entry.
    """
    manifest = parse_manifest(files.get(MANIFEST, b""))
    if manifest is None:
        raise DoesNotHold("it has no manifest, or one that was edited")
    content = files.get(FILES[kind])
    if content is None or manifest["files"] != {FILES[kind]: sha256_of(content)}:
        raise DoesNotHold("it does not match its checksums")
    provenance: dict[str, Any] = manifest["provenance"]
    (_check_model if kind == MODELS else _check_readout)(key, content, provenance)
    return content, provenance


def _check_model(key: str, content: bytes, provenance: Mapping[str, Any]) -> None:
    if digest(provenance.get("identity")) != key:
        raise DoesNotHold("it is another model than it says")
    seconds = provenance.get("seconds")
    is_told = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds >= 0
    if not isinstance(provenance.get("audit"), dict) or not is_told:
        raise DoesNotHold("it does not say how it was trained")
    try:
        TypeAdapter(tuple[EpochLog, ...]).validate_python(provenance.get("log"))
    except ValidationError:
        raise DoesNotHold("it has no log of its training") from None
    try:
        weights = safetensors.torch.load(content)
    except SafetensorError as error:
        raise DoesNotHold(f"its weights are no safetensors: {error}") from None
    if not weights:
        raise DoesNotHold("it has no weights")
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        raise DoesNotHold("its weights are not all finite")


def _check_readout(key: str, content: bytes, provenance: Mapping[str, Any]) -> None:
    model, forget = provenance.get("model"), provenance.get("forget")
    if not isinstance(model, dict) or "forget" not in model or (model["forget"] or forget) is None:
        raise DoesNotHold("it does not say of which model and which D_f it is")
    # Readouts made before they said so are of an installed task.
    cuts: list[tuple[Any, Any]] = [
        (task.data.name, task.data.holdout_share) for task in installed_tasks()
    ]
    if "data" in provenance:
        cuts = [(str(provenance["data"]), provenance.get("holdout_share"))]
    if all(key != readout_key(model, *cut, forget) for cut in cuts):
        raise DoesNotHold("it is the readout of another model than it says")
    parse_readout(content, "it")
