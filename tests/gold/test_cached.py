"""What is cached: what a run lacks, and what becomes of a damaged file."""

import pytest

from mubench.gold import audit, cached
from mubench.gold.build import build
from mubench.gold.cached import missing
from tests.helpers.stores import copy_of


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_a_run_needs_is_cached_once(tiny, tiny_store):
    assert missing(tiny, tiny_store, tiny.cases[:1]) == []
    absent = missing(tiny, tiny_store, tiny.cases[:2])
    assert [ref.label for ref in absent] == ["gold 1 of b-12", "gold 2 of b-12"]


@pytest.mark.parametrize("kind", ["models", "readouts"])
def test_a_damaged_file_is_reported_and_replaced_by_the_same_numbers(
    tiny, tiny_store, tmp_path, capsys, kind
):
    store = copy_of(tiny_store, tmp_path / "copy")
    ref = tiny.golds(tiny.cases[0])[0]
    expected = cached.gold_readout(tiny, store, ref)
    names = {"models": (ref.key, "weights.safetensors"),
             "readouts": (tiny.readout_key(ref), "readout.npz")}  # fmt: skip
    key, name = names[kind]
    flip_a_bit(store.root / kind / key / name)
    if kind == "models":
        store.remove("readouts", tiny.readout_key(ref))
    build(tiny, store, missing(tiny, store, tiny.cases[:1]))
    message = capsys.readouterr().err
    assert "damaged file" in message
    assert name in message
    assert cached.gold_readout(tiny, store, ref) == expected
    assert audit.verify(tiny, store, ref) == []
