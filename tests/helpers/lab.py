"""Records and readouts made by hand, for what only reads them."""

import json

import numpy as np

from mubench._util.files import write_atomic
from mubench._util.hashing import digest, sha256_of
from mubench.record.flags import Flag
from mubench.record.folder import ResultsFolder, readout_beside
from mubench.record.metrics import floor, score
from mubench.record.readout import Readout, compact, readout_bytes
from mubench.record.schema import Cost, GoldReference, Record
from mubench.task.spec import parse_task

SPEC = """
name = "{name}"
version = 1
description = "Made by hand."
[data]
name = "synthetic"
kind = "synthetic"
image_size = 8
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
[model]
name = "allcnn"
[train]
epochs = 10
batch_size = 32
optimizer = "sgd"
lr = 0.1
schedule = "one-cycle"
[forget]
kind = "subset"
classes = {classes}
sizes = {sizes}
[measure]
golds = 3
seeds = {seeds}
"""

NUM_TEST = 200
NUM_RETAIN = 900
WHOLE_CLASS = 50


def spec_text(name="made", classes=("a", "b", "c", "d"), sizes=(50,), seeds=1, originals=1):
    text = SPEC.format(name=name, classes=json.dumps(list(classes)), sizes=list(sizes), seeds=seeds)
    return text + (f"originals = {originals}\n" if originals > 1 else "")


def make_task(name="made", **changes):
    return parse_task(spec_text(name, **changes), name)


def whole_classes(classes=("a", "b", "c")):
    """A task that forgets whole classes."""
    text = spec_text(classes=classes).replace("subset", "class").replace("sizes = [50]\n", "")
    return parse_task(text, "made")


class Lab:
    """Writes records of one task into a folder.

    A model is its accuracy on D_f, and how much it agrees with the golds on which samples are hard.
    `num_peers` is how many test images are of D_f's class: below 5 there is no membership inference
    to compute, which is slow.
    """

    def __init__(self, results, task, num_peers=4, num_test=NUM_TEST):
        self.results, self.task = results, task
        self.num_peers, self.num_test = num_peers, num_test
        self.cases = [case.id for case in task.cases(task.forget.classes)]
        self.scored = {}  # (case) -> gold readouts, references, floor

    def hardness(self, case):
        """Per sample of D_f, how hard it is, the same for every model."""
        rng = np.random.default_rng([1, self.cases.index(case)])
        return rng.permutation(self.task.case(case).size or WHOLE_CLASS) + 0.5

    def readout(self, case, rng, accuracy, knowledge=1.0, test_accuracy=0.8, sharpness=4.0):
        """A model that is right on the share `accuracy` of D_f; `knowledge` 1: on the easiest."""
        hardness = self.hardness(case)
        count = len(hardness)
        noise = rng.permutation(count) + 0.5
        order = np.argsort(knowledge * hardness + (1 - knowledge) * noise)
        right = np.zeros(count, bool)
        right[order[: round(accuracy * count)]] = True
        return self.readout_from(right, rng, test_accuracy, sharpness)

    def readout_from(self, right, rng, test_accuracy=0.8, sharpness=4.0):
        logits = rng.normal(0, 0.5, (len(right), 3)).astype(np.float32)
        logits[np.arange(len(right)), np.where(right, 0, 1)] += sharpness
        test_labels = np.where(np.arange(self.num_test) < self.num_peers, 0, 1)
        # An exact count, so that no model loses accuracy by chance.
        test_right = rng.permutation(self.num_test) < round(test_accuracy * self.num_test)
        test_logits = rng.normal(0, 0.5, (self.num_test, 3)).astype(np.float32)
        test_logits[np.arange(self.num_test), np.where(test_right, test_labels, 2)] += 9
        return Readout(
            forget_logits_NK=logits,
            forget_labels_N=np.zeros(len(right), np.int64),
            test_logits_MK=compact(test_logits),
            test_predictions_M=test_logits.argmax(axis=1),
            test_labels_M=test_labels,
            retain_correct=NUM_RETAIN - 1,
            retain_total=NUM_RETAIN,
        )

    def golds(self, case, accuracy=0.7, knowledge=0.8):
        if case not in self.scored:
            rng = np.random.default_rng([2, self.cases.index(case)])
            shift = (-0.02, 0.0, 0.02)
            golds = [self.readout(case, rng, accuracy + s, knowledge) for s in shift]
            contents = [readout_bytes(gold) for gold in golds]
            references = tuple(
                GoldReference(
                    key=digest([self.task.id, case, i]), seed=i + 1, readout_sha256=sha256_of(c)
                )
                for i, c in enumerate(contents)
            )
            self.scored[case] = (golds, references, contents, floor(golds))
        return self.scored[case]

    def original(self, case, number=0):
        """An original, which is right on nearly all of D_f; the same whenever it is asked for."""
        rng = np.random.default_rng([4, self.cases.index(case), number])
        return self.readout(case, rng, 0.98, sharpness=6.0)

    def add(self, method, case, seed=0, accuracy=0.8, knowledge=0.8, readout=None, **changes):
        """Measures and writes a record; `changes` are fields of it or of its cost."""
        rng = np.random.default_rng([3, self.cases.index(case), seed, *method.encode()])
        readout = readout or self.readout(case, rng, accuracy, knowledge)
        golds, references, contents, lowest = self.golds(case)
        original_seed = self.task.original_seed(self.cases.index(case), seed)
        original = self.original(case, original_seed)
        content, original_content = readout_bytes(readout), readout_bytes(original)
        num_train = NUM_RETAIN + len(readout.forget_labels_N)
        cost = {
            "seconds": 12.5, "retrain_seconds": 100.0, "forward_samples": 1000,
            "backward_samples": 1000, "peak_memory_bytes": 1,
        }  # fmt: skip
        cost |= {name: changes.pop(name) for name in list(changes) if name in cost}
        samples = cost["forward_samples"] + 2 * cost["backward_samples"]
        cost["epochs_equivalent"] = samples / 3 / num_train
        cost["retrain_epochs_equivalent"] = 10 * NUM_RETAIN / num_train
        over = cost["epochs_equivalent"] > 0.5 * cost["retrain_epochs_equivalent"]
        fields = {
            "task": self.task.id, "spec_sha": self.task.spec_sha, "data_fingerprint": "0" * 64,
            "case": case, "forget_sha256": digest(case), "method": method,
            "distribution": "made", "distribution_version": "1", "source_sha256": "1" * 64,
            "harness_sha256": "2" * 64, "requires": ("forget",), "control": False,
            "parameters": {"lr": 0.1, "epochs": 1}, "seed": seed, "status": "ok",
            "metrics": score(readout, golds), "floor": lowest,
            "original_seed": original_seed, "original_key": digest([self.task.id, original_seed]),
            "nothing": score(original, golds),
            "nothing_readout_sha256": sha256_of(original_content),
            "golds": references, "readout_sha256": sha256_of(content), "cost": Cost(**cost),
            "budget": 0.5, "flags": (Flag.OVER_BUDGET,) if over else (), "device": "a processor",
            "threads": 1, "precision": "float32", "versions": {}, "git_revision": None,
            "started_at": "2026-01-01T00:00:00+00:00", "isolated": True,
        }  # fmt: skip
        record = Record(**(fields | changes))
        folder = ResultsFolder(self.results)
        contents = [*contents, original_content]
        for path, reference in zip(folder.references(record), contents, strict=True):
            if not path.exists():
                write_atomic(path, reference)
        return folder.write(record, content)

    def fail(self, method, case, seed=0, error="ValueError: no"):
        """A record of a run that raised."""
        path = self.add(method, case, seed)
        nothing = {"floor": {}, "golds": [], "nothing": {}, "nothing_readout_sha256": None}
        edit(path, status="error", error=error, metrics={}, readout_sha256=None, **nothing)
        readout_beside(path).unlink()
        return path

    def add_entry(self, method, accuracy=0.8, knowledge=0.8, seeds=(0,), **changes):
        """A record of every case."""
        return [
            self.add(method, case, seed, accuracy, knowledge, **changes)
            for case in self.cases
            for seed in seeds
        ]


def edit(path, **changes):
    """Changes fields of a record's JSON by hand; `metrics__delta__value` names an inner one."""
    content = json.loads(path.read_text())
    for name, value in changes.items():
        *groups, last = name.split("__")
        place = content
        for group in groups:
            place = place[group]
        place[last] = value
    path.write_text(json.dumps(content))
