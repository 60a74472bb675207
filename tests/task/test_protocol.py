"""A task's protocol in words."""

import pytest

from mubench.task.installed import installed_tasks, load_task
from mubench.task.protocol import protocol
from mubench.task.spec import parse_task
from tests.helpers.tiny import TINY


@pytest.mark.parametrize("task", installed_tasks(), ids=lambda task: task.name)
def test_every_task_has_every_part(task):
    parts = dict(protocol(task))
    assert all(parts.values())
    assert parts["spec"] == task.spec_sha
    originals, golds = task.measure.originals, task.num_cases * task.measure.golds
    noun = "original" if originals == 1 else "originals"
    assert parts["models"].startswith(f"{originals} {noun} and {golds} golds")
    assert parts["models"].endswith(
        f": {(originals + golds) * task.train.epochs} epochs of training"
    )


def test_the_digits():
    parts = dict(protocol(load_task("digits-subset")))
    assert parts["data"] == "the digits that come with scikit-learn, no download"
    assert parts["images"] == "8x8 pixels, 1 channel; 50% are held out"
    assert parts["model"] == "resnet18, width 8"
    assert parts["recipe"] == (
        "15 epochs in batches of 32, sgd with lr 0.05, momentum 0.9 of Nesterov, "
        "weight decay 0.0005, one-cycle schedule, warmup over 20% of the steps, "
        "no augmentation, float32"
    )
    assert parts["forget"] == "40 images of one class"
    assert parts["cases"].startswith("10: 8-40, 0-40")
    assert parts["models"] == "1 original and 30 golds, 3 for each case: 465 epochs of training"
    assert parts["first case"] == "4 models are enough for it"
    assert parts["an entry"] == "10 runs, 1 for each case"
    assert parts["budget"] == "50% of retraining, both in epochs-equivalent"


@pytest.mark.parametrize(
    ("old", "new", "part", "expected"),
    [
        ('classes = ["b", "d"]', "classes = 2", "cases", "4: <class>-6, <class>-12"),
        ('"subset"\nclasses = ["b", "d"]', '"random"', "cases", "2: random-6, random-12"),
        ('"subset"\nclasses = ["b", "d"]', '"random"', "forget", "6 or 12 images of all classes"),
        ('"subset"', '"class"', "forget", "all images of one class"),
        ("[6, 12]", "[6, 12]\ndraw = 3", "forget", "6 or 12 images of one class, draw 3"),
        ('"one-cycle"', '"step"\nmilestones = [1, 2]', "recipe", "times 0.1 after epochs 1, 2,"),
        ("width = 8", "width = 8\nshards = 4", "model", "width 8, an ensemble over 4 shards of D"),
        (
            "lr = 0.1",
            "lr = 0.1\nflip = true\ncrop = 2",
            "recipe",
            "flips and crops padded by 2",
        ),
        (
            '"sgd"\nlr = 0.1\nnesterov = true',
            '"adamw"\nlr = 0.1',
            "recipe",
            "adamw with lr 0.1, ",
        ),
        (
            '"synthetic"\nkind = "synthetic"',
            '"mine"\nkind = "folder"',
            "data",
            "the folder mine",
        ),
        (
            '"synthetic"\nkind = "synthetic"',
            '"mine"\nkind = "folder"',
            "images",
            "unless there",
        ),
        (
            '"allcnn"',
            '"allcnn"\noptions = {dropout = true}',
            "model",
            "width 8, dropout True",
        ),
    ],
)
def test_each_choice_has_its_words(old, new, part, expected):
    assert old in TINY
    text = TINY.replace(old, new)
    if '"class"' in new:
        text = text.replace("sizes = [6, 12]\n", "")
    assert expected in dict(protocol(parse_task(text, "x")))[part]
