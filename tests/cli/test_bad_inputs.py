"""Bad inputs of every kind: one line that says what to do, exit code 2, nothing written."""

import errno
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import RUN, call
from tests.helpers.methods import PLUGIN
from tests.helpers.tiny import TINY

LONG = "a" * 5000
SHOW = ("show", "bad.toml")
LIST = ("gold", "list", "--task", "bad.toml")


def tree(folder):
    """Every path below a folder with its size, but for what Python itself keeps of modules."""
    paths = (path for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts)
    return {path: path.lstat().st_size for path in paths}


def check_refused(folder, arguments, expected, code=2):
    """A command that is refused in one line, or in the list of mistakes of one file."""
    before = tree(folder)
    done = call(*arguments)
    assert done.exit_code == code, done.output
    _, _, message = f"\n{done.stderr}".partition("\nError: ")  # click puts its own usage before
    first, *others = message.splitlines()
    assert expected in " ".join(message.split()), done.stderr
    assert not others or first.endswith(("mistake:", "mistakes:", "remove them:"))
    assert "Traceback" not in done.output and "Warning" not in done.output
    assert tree(folder) == before


def task_with(old, new, text=TINY):
    assert old in text
    return text.replace(old, new)


TASKS = {
    "empty": ("", "data: Field required"),
    "no TOML": ("<html>", "not TOML"),
    "nested too deep": ("a = " + "[" * 1000, "nests too deep"),
    "NUL": ("a = \0", "not TOML"),
    "a key twice": (TINY + "\ngolds = 3", "not TOML"),
    "a number of 5,000 digits": (task_with("epochs = 3", "epochs = " + "9" * 5000), "digits"),
    "a name of 5,000 letters": (task_with('"tiny"', f'"{LONG}"'), "at most 80 characters"),
    "a path for a name": (task_with('"tiny"', '"../tiny"'), "name: String should match"),
    "a path for a class": (task_with('"b"', '"../b"'), "forget.classes"),
    "unknown key": (task_with("golds", "gold"), "unknown key; did you mean 'golds'?"),
    "another schema": ("[task]\nname = 'x'", "task: unknown key"),
    "NaN": (task_with("lr = 0.1", "lr = nan"), "train.lr"),
    "infinity": (task_with("lr = 0.1", "lr = inf"), "train.lr: Input should be a finite number"),
    "a date": (task_with("version = 1", "version = 2026-01-01"), "version: Input should be"),
    "an odd width": (task_with('"allcnn"\nwidth = 8', '"resnet18"\nwidth = 9'), "odd width"),
    "a width of a fixed model": (task_with('"allcnn"', '"resnet81"'), "mean 'resnet18'?"),
    "an unknown option": (
        task_with('"allcnn"', '"allcnn"\noptions = {dropuot = true}'), "did you mean 'dropout'?",
    ),
    "an option of another type": (
        task_with('"allcnn"', '"allcnn"\noptions = {dropout = "yes"}'), "a valid boolean",
    ),
    "an option of timm's": (
        task_with('"allcnn"', '"resnet18"\noptions = {drop_rat = 0.5}'), "mean 'drop_r",
    ),
    "an unknown model": (task_with('"allcnn"\nwidth = 8', '"alcnn"'), "did you mean 'allcnn'?"),
    "a model for larger images": (
        task_with('"allcnn"\nwidth = 8', '"inception_v3"'), "timm cannot make 'inception_v3'",
    ),
    "heads that do not fit": (task_with('"allcnn"\nwidth = 8', '"vit"\nwidth = 20'), "divisor of"),
    "milestones after the end": (
        task_with('"one-cycle"', '"step"\nmilestones = [9]'), "milestone 9 is not before the end",
    ),
    "milestones without steps": (
        task_with('"one-cycle"', '"one-cycle"\nmilestones = [1]'), "takes no milestones",
    ),
    "a crop of the image's size": (task_with("lr = 0.1", "lr = 0.1\ncrop = 8"), "train.crop"),
    "Nesterov alone": (task_with("lr = 0.1", "lr = 0.1\nmomentum = 0"), "nesterov needs"),
    "another shape": (task_with("image_size = 8", "image_size = 3"), "data.image_size"),
    "a billion golds": (task_with("golds = 2", "golds = 1_000_000_000"), "measure.golds"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TASKS)
def test_a_bad_task_is_told_before_anything_is_loaded(folder, kind):
    text, expected = TASKS[kind]
    (folder / "bad.toml").write_text(text)
    check_refused(folder, SHOW, expected)
    check_refused(folder, LIST, expected)


def test_what_only_the_data_can_tell_is_told_before_a_training(folder):
    for old, new, expected in (
        ("[6, 12]", "[6, 60]", "case b-60 needs 60 images of the 60 of class 'b'"),
        ("[6, 12]", "[600]", "lower the size"),
        (
            '"subset"\nclasses = ["b", "d"]\nsizes = [6, 12]',
            '"random"\nsizes = [240]',
            "the 240 of",
        ),
        ('["b", "d"]', '["bb"]', "the data has no class 'bb'; did you mean 'b'?"),
    ):
        (folder / "bad.toml").write_text(task_with(old, new))
        check_refused(folder, LIST, expected)
        check_refused(folder, ("run", "--method", "finetune", "--task", "bad.toml"), expected)


FILES = {
    "a folder": (lambda file: file.mkdir(), "there is no file bad.toml"),
    "a pipe": (os.mkfifo, "there is no file bad.toml"),
    "a dangling link": (lambda file: file.symlink_to("nowhere"), "there is no file bad.toml"),
    "a circle of links": (lambda file: file.symlink_to("bad.toml"), "there is no file bad.toml"),
    "not text": (lambda file: file.write_bytes(b"\xff\xfe\0"), "not text in UTF-8"),
    "nothing": (lambda file: None, "there is no file bad.toml"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_none(folder, kind):
    make, expected = FILES[kind]
    make(folder / "bad.toml")
    check_refused(folder, SHOW, expected)
    if kind not in ("a folder", "a dangling link", "a circle of links", "nothing"):  # click's
        check_refused(folder, ("sweep", "bad.toml"), expected)


NAMES = {
    "a task": ("show", "digits-subst", "did you mean 'digits-subset'?"),
    "a version": ("show", "digits-subset@2", "is at version 1, not 2"),
    "a method": ("show", "finetnue", "did you mean 'finetune'?"),
    "5,000 letters": ("show", LONG, "unknown method or task"),
    "5,000 letters of a file": ("show", f"{LONG}.toml", "its name is too long"),
    "5,000 letters of a method's file": ("show", f"./{LONG}.py:Mine", "too long"),
    "NUL": ("show", "a\0b.toml", "NUL"),
    "a folder for a method": ("show", "./folder.py:Mine", "there is no file './folder.py'"),
    "no module": ("show", ":Mine", "cannot be imported"),
    "no class": ("show", "./mine.py:MyMethd", "did you mean 'MyMethod'?"),
    "what is no class": ("show", "./mine.py:Literal", "is not a dataclass"),
    "a name for a method": ("new-method", LONG, "its name is too long"),
    "a method for a path": ("new-method", "../up", "is named like"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_wrong_name(folder, kind):
    command, name, expected = NAMES[kind]
    (folder / "folder.py").mkdir()
    check_refused(folder, (command, name), expected)


SETTINGS = {
    "unknown": (["lrr=1"], "did you mean 'lr'?"),
    "NaN": (["lr=nan"], "greater than 0, got nan"),
    "infinity": (["lr=inf"], "MyMethod.lr is inf"),
    "infinity in letters": (["lr=Infinity"], "MyMethod.lr is inf"),
    "a date": (["lr=2026-01-01"], "holds a date or a time"),
    "an integer beyond a float": (["lr=1" + "0" * 400], "my-method.lr"),
    "nested too deep": (["lr=" + "[" * 1000], "nests too deep"),
    "a group and a value": (["inner=1", "inner.depth.more=2"], "twice"),
    "a line break": (["lr=1\nmode='b'"], "my-method.lr: Input should be a valid number"),
    "no value": (["lr"], "is not name=value"),
    "no name": (["=1"], "is not name=value"),
    "a table for a number": (["lr.x=1"], "my-method.lr: Input should be a valid number"),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_wrong_setting(folder, kind):
    settings, expected = SETTINGS[kind]
    options = [option for setting in settings for option in ("--set", setting)]
    check_refused(folder, [*RUN, *options], expected)


FIELD = "    lr: Annotated[float, Gt(0)] = 0.1"
HEAD = "from annotated_types"
METHODS = {
    "access by number": ('{"forget"}', "{1, 2}", "requires unknown access"),
    "access of all kinds": ('{"forget"}', '{1, "x", None}', "requires unknown access"),
    "a list of access": ('frozenset({"forget"})', '["forget"]', "declares no access"),
    "no text": (HEAD, "\udcff", "cannot be imported: SyntaxError"),
    "NUL": (HEAD, "\0", "cannot be imported"),
    "no Python": (HEAD, "def", "cannot be imported: SyntaxError"),
    "leaves": (HEAD, f"raise SystemExit(0)\n{HEAD}", "cannot be imported: SystemExit: 0"),
    "a cruel exception": (
        HEAD, f"class Cruel(BaseException): pass\nraise Cruel('no')\n{HEAD}", "imported: Cruel: no",
    ),
    "an exception without text": (
        HEAD,
        f"class Mute(Exception):\n  def __str__(self): 1 / 0\nraise Mute\n{HEAD}",
        "cannot be imported: Mute",
    ),
    "a steering exception": (HEAD, f"raise OSError('\\x1b[2J')\n{HEAD}", "imported: OSError:"),
}  # fmt: skip

PARAMETERS = {
    "unknown type": (FIELD, "    lr: object() = 1", "of a type that cannot be checked"),
    "a class of its own": (FIELD, "    lr: type('C', (), {}) = 1", "that cannot be checked"),
    "a forward reference": (FIELD, "    lr: 'Later' = 1", "name 'Later' is not defined"),
    "NaN": (FIELD, "    lr: float = float('nan')", "lr is nan, which no record can hold"),
    "infinity": (FIELD, "    lr: list[float] = (float('inf'),)", "lr.0 is inf"),
    "what no record holds": (FIELD, "    lr: __import__('typing').Any = print", "no record can"),
    "refuses itself": (
        FIELD, FIELD + "\n    def __post_init__(self): [][0]", "take its parameters: Index",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", METHODS)
def test_a_bad_method(folder, kind):
    old, new, expected = METHODS[kind]
    text = task_with(old, new, PLUGIN)
    (folder / "bad.py").write_bytes(text.encode(errors="surrogateescape"))
    for command in ("show", "check"):
        check_refused(folder, (command, "./bad.py:MyMethod"), expected)


@pytest.mark.parametrize("kind", PARAMETERS)
def test_a_bad_parameter(folder, kind):
    old, new, expected = PARAMETERS[kind]
    (folder / "bad.py").write_text(task_with(old, new, PLUGIN))
    reference = "./bad.py:MyMethod"
    check_refused(folder, ("run", "--task", "tiny.toml", "--method", reference), expected)


IMAGES = TINY.replace('name = "synthetic"\nkind = "synthetic"', 'name = "mine"\nkind = "folder"')


def image(file, value=0, size=8):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(file)


def cut(file):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:500])


def deep(file):
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(file)


ENTRIES = {
    "a pipe": (os.mkfifo, "bad.png is no file; remove it"),
    "a dangling link": (lambda file: file.symlink_to("nowhere"), "is no file; remove it"),
    "a circle of links": (lambda file: file.symlink_to(file), "is no file; remove it"),
    "a folder": (lambda file: file.mkdir(), "holds folders"),
    "text": (lambda file: file.write_text("hello"), "1 of 81 files cannot be read as images"),
    "nothing": (lambda file: file.touch(), "1 of 81 files cannot be read as images"),
    "half an image": (cut, "1 of 81 files cannot be read as images"),
    "16 bits": (deep, "more than 8 bits"),
    "a device": (lambda file: file.symlink_to("/dev/zero"), "is no file; remove it"),
}


@pytest.fixture
def images(folder, monkeypatch):
    """A folder of images that is good until a test spoils it, and a task of it."""
    monkeypatch.setenv("MUBENCH_DATA", str(folder))
    monkeypatch.setenv("MUBENCH_CACHE", str(folder.parent / "other-cache"))
    (folder / "bad.toml").write_text(IMAGES)
    for label, name in enumerate("abcd"):
        for value in range(20):
            image(folder / "mine" / name / f"{value}.png", 20 * label + value)
    return folder / "mine"


@pytest.mark.parametrize("kind", ENTRIES)
def test_a_folder_of_images_with_something_else_in_it(images, kind):
    make, expected = ENTRIES[kind]
    make(images / "b" / "bad.png")
    check_refused(images, LIST, expected)


def test_a_good_folder_of_images_is_read(images):
    assert call(*LIST).exit_code == 0


def equal(images):
    for file in images.rglob("*.png"):
        image(file, 7)


def one_class(images):
    for name in "acd":
        (images / name).rename(images.parent / f"other-{name}")


def other_test_class(images):
    for part in ("train", "test"):
        for value in range(4):
            image(images / part / part / f"{value}.png", value)


FOLDERS = {
    "equal images": (equal, "to draw from"),
    "one class": (one_class, "has no class 'd'"),
    "an empty class": (lambda images: (images / "e").mkdir(), "is empty"),
    "a class that is only in test": (
        other_test_class,
        "has classes that train does not have: test",
    ),
    "no folder": (lambda images: images.rename(images.parent / "other"), "there is no folder"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_bad_folder_of_images(images, kind):
    make, expected = FOLDERS[kind]
    make(images)
    check_refused(images.parent, LIST, expected)


def test_no_place_for_data(images, monkeypatch):
    for place, expected in (
        (str(images.parent / "tiny.toml"), "which is not a folder"),
        ("", "set MUBENCH_DATA to the folder that holds mine"),
    ):
        monkeypatch.setenv("MUBENCH_DATA", place)
        check_refused(images, LIST, expected)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE])
def test_an_image_that_the_system_does_not_give(images, monkeypatch, number):
    def refuse(path):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("mubench.task.folders._sha256", refuse)
    check_refused(images, LIST, f"{os.strerror(number)};")


def stored(path, name="models/x", content=b"x", **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr(name, content)


def encrypted(path):
    stored(path)
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.find(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)


def bomb(path):
    stored(path, f"models/{'0' * 64}/weights.safetensors", b"\0" * 10**7, compression=8)


BUNDLES = {
    "no archive": (lambda path: path.write_text("hello"), "is not a bundle"),
    "nothing": (lambda path: path.touch(), "is not a bundle"),
    "an empty archive": (lambda path: zipfile.ZipFile(path, "w").close(), "it holds nothing"),
    "encrypted": (encrypted, "encrypted"),
    "another compression": (lambda path: stored(path, compression=14), "its compression is of"),
    "a bomb": (bomb, "it unpacks to far too much"),
    "a path out of it": (lambda path: stored(path, "../out"), "it holds '../out'"),
    "a pipe": (os.mkfifo, "is not a bundle: it is no file"),
    "an endless device": (lambda path: path.symlink_to("/dev/zero"), "it is no file"),
    "a folder": (lambda path: path.mkdir(), "no record that holds"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "does not exist"),
    "a circle of links": (lambda path: path.symlink_to(path), "does not exist"),
}


@pytest.mark.parametrize("kind", BUNDLES)
def test_a_bad_bundle(folder, library, kind):
    make, expected = BUNDLES[kind]
    make(folder / "golds.zip")
    before = tree(library.store.root)
    check_refused(folder, ("gold", "import", "golds.zip"), expected)
    assert tree(library.store.root) == before


GRIDS = {
    "a date": ('methods = [{name = "finetune", lr = 2026-01-01}]', "lr holds a date or a time"),
    "times in lists": (
        'methods = [{name = "finetune", lr = [[10:00:00]]}]',
        "holds a date or a time",
    ),
    "NUL in a task": ('methods = ["finetune"]\ntasks = ["a\\u0000.toml"]', "there is no file"),
    "NUL in a method": ('methods = ["./a\\u0000.py:Mine"]', "there is no file"),
    "NaN": ('methods = [{name = "finetune", lr = nan}]', "greater than 0, got nan"),
    "nested too deep": ("methods = " + "[" * 1000, "nests too deep"),
    "unknown names": ('methods = ["finetnue"]\nmethod = 1', "did you mean 'finetune'?"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", GRIDS)
def test_a_bad_grid(folder, kind):
    text, expected = GRIDS[kind]
    tasks = "" if "tasks" in text else 'tasks = ["tiny.toml"]\n'
    (folder / "grid.toml").write_text(tasks + text)
    (folder / "results").mkdir()  # made to be hidden from methods
    check_refused(folder, ("sweep", "grid.toml", "--dry-run"), expected)


def loop(place):
    place.symlink_to(place.name)


PLACES = {
    "a file": (lambda place: place.touch(), "a file stands where a folder should be"),
    "a dangling link": (lambda place: place.symlink_to("no/where"), ";"),
    "a circle of links": (loop, ";"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_cache_that_cannot_be(folder, monkeypatch, kind):
    make, expected = PLACES[kind]
    make(folder / "place")
    monkeypatch.setenv("MUBENCH_CACHE", str(folder / "place" / "cache"))
    check_refused(folder, ("gold", "build", "--task", "tiny.toml", "--case", "b-6"), expected)


@pytest.mark.parametrize("kind", PLACES)
def test_a_place_for_a_package_that_cannot_be(folder, kind):
    make, _ = PLACES[kind]
    make(folder / "place")
    check_refused(folder, ("new-method", "mine", "--dir", "place"), "")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_nothing(folder, monkeypatch, number):
    def refuse(path, *_):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("mubench.method.scaffold.write_atomic", refuse, raising=False)
    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    check_refused(folder, ("gold", "export", "--task", "tiny.toml", "--case", "b-6", "out.zip"),
                  os.strerror(number))  # fmt: skip


def test_a_full_disk(folder):
    done = call("gold", "export", "--task", "tiny.toml", "--case", "b-6", "/dev/full")
    assert done.exit_code == 2
    assert "the disk is full" in done.stderr
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        command = [sys.executable, "-m", "mubench", "list", "methods"]
        shown = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert shown.returncode == 2
    assert "the disk is full" in shown.stderr and "Traceback" not in shown.stderr


def test_no_home(folder, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("MUBENCH_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def nobody(_):
        raise KeyError("no such user")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    check_refused(folder, ("gold", "list", "--task", "tiny.toml"), "set MUBENCH_CACHE")
    monkeypatch.setenv("MUBENCH_CACHE", "~/cache")
    check_refused(folder, ("gold", "list", "--task", "tiny.toml"), "MUBENCH_CACHE")
