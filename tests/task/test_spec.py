"""Task specs: what a file may say, its identity, its cases, and the tasks that are installed."""

import json

import pytest

from mubench._util.errors import UserError
from mubench._util.files import HARNESS
from mubench.task.spec import Case, available_tasks, load_task, parse_task
from tests.helpers.tiny import TINY

LOCK = HARNESS.parent / "tasks" / "lock.json"


def test_every_mistake_is_reported_at_once_with_its_path():
    text = TINY.replace("lr = 0.1", "lr = -1").replace("width = 8", "widht = 8")
    text = text.replace('schedule = "one-cycle"', 'schedule = "cosine"')
    with pytest.raises(ValueError, match="3 mistakes") as caught:
        parse_task(text, "mine.toml")
    message = str(caught.value)
    assert "mine.toml" in message
    assert "train.lr: Input should be greater than 0" in message
    assert "model.widht: unknown key" in message
    assert "train.schedule" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("sizes = [6, 12]", "", "needs sizes"),
        ('kind = "subset"', 'kind = "random"', "takes no classes"),
        ("sizes = [6, 12]", "sizes = [6, 6]", "twice"),
        ("std = [0.25, 0.25, 0.25]", "std = [0.25]", "3 channels"),
        ("version = 1", "version = 1.5", "version"),
        ("[model]", "[model", "not TOML"),
    ],
)
def test_a_contradiction_is_a_mistake(old, new, expected):
    with pytest.raises(ValueError, match=expected):
        parse_task(TINY.replace(old, new), "mine.toml")


def test_identity_ignores_prose_number_format_and_defaults_and_nothing_else(tiny_task):
    sha = tiny_task.spec_sha
    same = TINY.replace("version = 1", 'version = 1\ndescription = "words"')
    same = same.replace(
        "weight_decay = 5e-4", "weight_decay = 0.0005\nmomentum = 0.9\nflip = false"
    )
    assert parse_task(same, "x").spec_sha == sha
    for old, new in [("lr = 0.1", "lr = 0.2"), ("golds = 2", "golds = 3"), ("[6, 12]", "[6]")]:
        assert parse_task(TINY.replace(old, new), "x").spec_sha != sha


def test_cases_are_the_product_of_classes_and_sizes(tiny_task):
    ids = [case.id for case in tiny_task.cases(("a", "b", "c", "d"))]
    assert ids == ["b-6", "b-12", "d-6", "d-12"]
    assert tiny_task.num_cases == 4


def test_a_number_of_classes_takes_the_first_names():
    text = TINY.replace('classes = ["b", "d"]', "classes = 2")
    cases = parse_task(text, "x").cases(("zoe", "ann", "bob"))
    assert [case.class_name for case in cases] == ["ann", "ann", "bob", "bob"]


def test_a_class_the_data_lacks_gets_a_suggestion(tiny_task):
    with pytest.raises(ValueError, match=r"no class 'b'; did you mean 'bb'\?"):
        tiny_task.cases(("bb", "d"))


def test_unknown_task_gets_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'cifar10-subset'"):
        load_task("cifar10-subest")


def test_a_version_that_is_not_installed_is_refused():
    assert load_task("digits-subset@1").version == 1
    with pytest.raises(ValueError, match="is at version 1, not 7"):
        load_task("digits-subset@7")


def test_published_tasks_never_change():
    lock = json.loads(LOCK.read_text())
    tasks = {task.id: task.spec_sha for task in map(load_task, available_tasks())}
    changed = [name for name, sha in lock.items() if tasks.get(name, sha) != sha]
    assert not changed, f"{changed} changed after publication: give the task another version"
    unlocked = tasks.keys() - lock.keys()
    assert not unlocked, f"add {unlocked} to tasks/lock.json: " + json.dumps(tasks, indent=1)


@pytest.mark.parametrize("name", available_tasks())
def test_every_builtin_task_is_valid_and_named_after_its_file(name):
    task = load_task(name)
    assert task.name == name
    assert task.description
    assert task.num_cases >= 1


@pytest.mark.parametrize(
    "forget",
    [
        'kind = "subset"\nclasses = ["b", "d-e"]\nsizes = [6, 12]',
        'kind = "subset"\nclasses = 2\nsizes = [6, 12]',
        'kind = "class"\nclasses = ["b", "d-e"]',
        'kind = "random"\nsizes = [6, 12]',
    ],
)
def test_a_case_is_read_from_its_id(forget):
    text = TINY[: TINY.index("[forget]")] + f"[forget]\n{forget}\n"
    task = parse_task(text, "x")
    for case in task.cases(("b", "d-e")):
        assert task.case(case.id) == case


def test_an_id_of_no_case_gets_a_suggestion(tiny_task):
    with pytest.raises(UserError, match=r"no case 'b-7'; did you mean 'b-6'\? It has b-6, b-12"):
        tiny_task.case("b-7")
    for case_id in ("c-6", "b", "b-", "-6", "b-all", "random-6", "6", "", "b-06"):
        with pytest.raises(UserError, match="no case"):
            tiny_task.case(case_id)


def test_any_class_may_be_a_case_of_data_that_each_user_brings():
    task = parse_task(TINY.replace('classes = ["b", "d"]', "classes = 2"), "x")
    assert task.case("zoe-6") == Case("zoe-6", "zoe", 6)
    for case_id in ("zoe-7", "zoe", "-6"):
        with pytest.raises(UserError, match="no case"):
            task.case(case_id)
