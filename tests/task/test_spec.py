"""Task specs: what a file may say, its identity, and its cases."""

import pytest

from mubench._util.errors import UserError
from mubench.task.spec import Case, parse_task
from tests.helpers.tiny import TINY


def test_every_mistake_is_reported_at_once_with_its_path():
    text = TINY.replace("lr = 0.1", "lr = -1").replace("width = 8", "widht = 8")
    text = text.replace('schedule = "one-cycle"', 'schedule = "cosinus"')
    with pytest.raises(ValueError, match="3 mistakes") as caught:
        parse_task(text, "mine.toml")
    message = str(caught.value)
    assert "mine.toml" in message
    assert "train.lr: Input should be greater than 0" in message
    assert "model.widht: unknown key; did you mean 'width'?" in message
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
        ("nesterov = true", "nesterov = true\nmomentum = 0", "nesterov needs .* momentum above 0"),
        ('"sgd"', '"adamw"', 'nesterov needs optimizer = "sgd"'),
        ("lr = 0.1", "lr = 0.1\nmilestones = [1]", 'schedule = "one-cycle" takes no milestones'),
        ('"one-cycle"', '"step"', 'schedule = "step" needs milestones'),
        ('"one-cycle"', '"step"\nmilestones = [1, 3]', "milestone 3 is not before the end of 3 ep"),
        ('"one-cycle"', '"step"\nmilestones = [2, 1]', "milestones do not rise"),
        ("lr = 0.1", "lr = 0.1\ncrop = 8", "train.crop: 8 pixels, and the images have 8"),
        ("image_size = 8", "image_size = 4096", "data.image_size"),
        (
            '"synthetic"\nimage_size',
            '"digits"\nimage_size',
            "digits has images of 8 pix",
        ),
        ('"synthetic"\nimage_size', '"cifar10"\nimage_size', "cifar10 has images of 32 pixels"),
        (
            "0.5, 0.5, 0.5]\nstd = [0.25, 0.25",
            "0.5, 0.5]\nstd = [0.25",
            "synthetic has images",
        ),
        ('"allcnn"', '"allcnn"\noptions = {dropuot = true}', "model: .*did you mean 'dropout'"),
        ("width = 8", "shards = 1", "model.shards: Input should be greater than or equal to 2"),
        ('"allcnn"', '"resnet50"', "model: the width of model 'resnet50' cannot be set"),
        (
            '"allcnn"\nwidth = 8',
            '"resnet18"\nwidth = 9',
            "model: resnet18 cannot have",
        ),
        ('"allcnn"\nwidth = 8', '"vit"\nwidth = 64', "model: vit cannot share a width of 64"),
        ('["b", "d"]', '["../b"]', "forget.classes"),
        ('name = "tiny"', f'name = "{"a" * 5000}"', "name: String should have at most 80"),
        ("epochs = 3", f"epochs = {'9' * 5000}", "not TOML"),
        ("lr = 0.1", "lr = nan", "train.lr"),
    ],
)
def test_a_contradiction_is_a_mistake(old, new, expected):
    assert old in TINY
    with pytest.raises(UserError, match=expected):
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
