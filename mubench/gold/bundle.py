"""Bundles: the original's weights and the golds' readouts of some cases as one file, to be shared.

Nothing in a bundle is believed: every entry that comes in is checked by content.
"""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from mubench._util.cache import Store
from mubench._util.errors import DoesNotHold, UserError
from mubench._util.hashing import digest, sha256_of
from mubench.record.readout import parse_readout
from mubench.task.spec import Case

from .library import MODELS, READOUT, READOUTS, GoldLibrary


def export_bundle(library: GoldLibrary, cases: Sequence[Case], path: Path) -> int:
    """Writes the original's weights and the golds' readouts of some cases as one file.

    Args:
        library: where the models are kept.
        cases: whose golds.
        path: the file to write.

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
    original, *golds = library.needed(cases)
    wanted = [(MODELS, original.key)]
    for ref in golds:
        library.readout(ref)  # makes the readout if only the weights are cached
        wanted.append((READOUTS, loaded.readout_key(ref)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for kind, key in wanted:
            entry = store.read(kind, key)
            assert entry
            for file in sorted(entry.folder.iterdir()):
                bundle.writestr(f"{kind}/{key}/{file.name}", file.read_bytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return path.stat().st_size


def import_bundle(store: Store, path: Path) -> tuple[int, int]:
    """Takes the entries of a bundle into the cache, each checked by content.

    Args:
        store: the cache.
        path: the bundle.

    Returns:
        How many models and how many readouts came in.

    Raises:
        UserError: the file is not a bundle, or an entry of it does not match its checksums.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            files = {name: bundle.read(name) for name in bundle.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise DoesNotHold(f"{path} is not a bundle: {error}") from None
    entries: dict[tuple[str, str], dict[str, bytes]] = {}
    for name, content in files.items():
        kind, _, rest = name.partition("/")
        key, _, file = rest.partition("/")
        if kind not in (MODELS, READOUTS) or not file or Path(file).name != file:
            raise DoesNotHold(f"{path} is not a bundle: it holds {name}")
        entries.setdefault((kind, key), {})[file] = content
    for (kind, key), content_of in entries.items():
        try:
            manifest = json.loads(content_of.pop("manifest.json", b""))
        except ValueError:
            manifest = None
        if not isinstance(manifest, dict) or not {"provenance", "files"} <= manifest.keys():
            raise DoesNotHold(f"{path}: {kind}/{key} has no manifest")
        provenance, expected = manifest["provenance"], manifest["files"]
        if {name: sha256_of(content) for name, content in content_of.items()} != expected:
            raise DoesNotHold(f"{path}: {kind}/{key} does not match its checksums")
        if kind == MODELS and digest(provenance["identity"]) != key:
            raise DoesNotHold(f"{path}: {kind}/{key} is another model than it says")
        if kind == READOUTS:
            parse_readout(content_of[READOUT], f"{path}: {kind}/{key}")
        with store.lock(kind, key):
            store.write(kind, key, content_of, provenance)
    kinds = [kind for kind, _ in entries]
    return kinds.count(MODELS), kinds.count(READOUTS)
