"""Reading a folder: files that are missing, exchanged, copied or of nobody."""

import json
import shutil

import numpy as np

from mubench.record.check import read_results
from tests.helpers.lab import Lab, make_task
from tests.helpers.rejections import only_rejected


def test_unknown_task(lab):
    lab.add("m", "a-50")
    path = Lab(lab.results, make_task("other")).add("m", "a-50")
    assert "is of other@1, and there is no such task here" in only_rejected(lab, path)


def test_duplicate(lab):
    path, *_ = lab.add_entry("m")
    copy = path.with_name("copy.json")
    shutil.copy(path, copy)
    shutil.copy(path.with_suffix(".npz"), copy.with_suffix(".npz"))
    assert only_rejected(lab, copy) == f"it is a copy of made/m/{path.name}"


def test_missing_and_exchanged_readout(lab):
    path, other, *_ = lab.add_entry("m")
    content = other.with_suffix(".npz").read_bytes()
    path.with_suffix(".npz").unlink()
    assert "is missing" in only_rejected(lab, path)
    path.with_suffix(".npz").write_bytes(content)
    assert "than the one here" in only_rejected(lab, path)


def test_damaged_gold_rejects_the_records_of_its_case(lab):
    path, *_ = lab.add_entry("m")
    gold = json.loads(path.read_text())["golds"][0]["key"][:16]
    file = lab.results / "made" / "golds" / f"{gold}.npz"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert f"readout {gold}.npz than the one here" in only_rejected(lab, path)


class OtherOriginals(Lab):
    """Records in the same folder that start from other originals."""

    def original(self, case, number=0):
        return self.readout(case, np.random.default_rng(number), 0.9, sharpness=6.0)


def test_an_original_of_ones_own(lab):
    for method in ("m", "n"):
        lab.add(method, "a-50")
    path = OtherOriginals(lab.results, lab.task).add("cheat", "a-50")
    assert (
        only_rejected(lab, path) == "its original 0 scores otherwise than in most records of a-50"
    )


def test_the_original_of_a_log_of_updates_is_held_against_those_of_other_logs(lab):
    for method in ("m", "n", "o"):
        lab.add(method, "a-50")
    elsewhere = OtherOriginals(lab.results, lab.task)
    for method in ("p", "q"):
        elsewhere.add(method, "a-50", requires=("retain", "update_log"))
    assert read_results(lab.results, [lab.task]).rejected == ()
    path = lab.add("r", "a-50", requires=("update_log",))
    assert "its original 0 scores otherwise" in only_rejected(lab, path)


def test_golds_of_ones_own(lab):
    for method in ("m", "n"):
        lab.add(method, "a-50")
    cheat = Lab(lab.results, lab.task)
    cheat.golds("a-50", accuracy=0.9)
    golds, references, contents, floor = cheat.scored["a-50"]
    fresh = tuple(r.model_copy(update={"key": "9" + r.key[1:]}) for r in references)
    cheat.scored["a-50"] = golds, fresh, contents, floor
    path = cheat.add("cheat", "a-50", accuracy=0.9)
    assert "other golds than most" in only_rejected(lab, path)
