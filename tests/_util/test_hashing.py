"""Hashes of values, and the seeds that follow from them: published records depend on both."""

import hashlib

import pytest

from mubench._util.hashing import derive_seed, digest, sha256_of


def test_a_digest_is_of_the_canonical_json():
    text = b'{"a":1,"b":[true,null,0.5]}'
    assert digest({"b": [True, None, 0.5], "a": 1}) == hashlib.sha256(text).hexdigest()
    assert digest([1]) != digest(["1"])


@pytest.mark.parametrize("value", [float("nan"), [float("inf")]])
def test_what_json_has_no_number_for_is_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(value)


def test_seeds_never_change_and_fit_in_63_bits():
    assert derive_seed("epoch", 0, 1) == 3_040_289_859_874_347_609
    seeds = {derive_seed("epoch", seed, epoch) for seed in range(20) for epoch in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62


def test_stages_are_kept_apart():
    assert len({derive_seed("ab", 1), derive_seed("a", "b", 1), derive_seed("ab", "1")}) == 3


def test_the_hash_of_bytes_is_the_standards():
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert sha256_of(b"abc") == known
