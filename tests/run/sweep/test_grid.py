"""Reading a grid: the cells it names, and every mistake."""

import pytest


def named(grid):
    return [(c.case.id, c.method.name, c.method.choice.settings, c.seed) for _, c in grid]


def test_a_grid_is_the_product_of_what_it_names(read, tiny):
    grid = read(
        """
        tasks = ["tiny"]
        methods = ["retrain", {name = "tmu", lr = [0.01, 0.1], epochs = 2}]
        cases = ["d-6", "b-12"]
        seeds = [1, 0]
        """
    )
    low, high = {"lr": 0.01, "epochs": 2}, {"lr": 0.1, "epochs": 2}
    for_each_case = [
        (name, settings, seed)
        for name, settings in (("retrain", {}), ("tmu", low), ("tmu", high))
        for seed in (0, 1)
    ]
    assert sorted(named(grid), key=str) == sorted(
        [(case, *rest) for case in ("b-12", "d-6") for rest in for_each_case], key=str
    )
    assert {loaded for loaded, _ in grid} == {tiny}
    assert [cell.case.id for _, cell in grid] == ["b-12"] * 6 + ["d-6"] * 6


def test_all_cases_and_seed_0_unless_the_file_says_otherwise(read):
    text = 'tasks = ["tiny"]\nmethods = ["tmu"]\n'
    grid = read(text)
    assert [(cell.case.id, cell.seed) for _, cell in grid] == [
        ("b-12", 0), ("b-6", 0), ("d-12", 0), ("d-6", 0)
    ]  # fmt: skip
    assert named(read(text + 'cases = "all"')) == named(grid)


def test_a_parameter_that_is_a_list(read):
    grid = read('tasks = ["tiny"]\ncases = ["b-6"]\nmethods = [{name = "tmu", lr = [[1, 2], [3]]}]')
    assert sorted(cell.method.choice.settings["lr"] for _, cell in grid) == [[1, 2], [3]]


def test_a_preset_is_no_parameter_and_several_give_several_methods(read):
    text = 'tasks = ["tiny"]\ncases = ["b-6"]\nmethods = [{name = "tmu", preset = VALUE, lr = 0.2}]'
    grid = read(text.replace("VALUE", '"paper"'))
    assert [(c.method.choice.preset, c.method.choice.settings) for _, c in grid] == [
        ("paper", {"lr": 0.2})
    ]
    with pytest.raises(ValueError, match="preset 1 is no name"):
        read(text.replace("VALUE", "1"))
    with pytest.raises(ValueError, match="no file nowhere"):
        read(text.replace("VALUE", '"nowhere.toml"'))


def test_every_mistake_is_reported_at_once(read):
    with pytest.raises(ValueError) as caught:
        read(
            """
            task = ["tiny"]
            tasks = ["tiny", "tony", "tiny"]
            methods = ["tmu", {name = "tmu", lrr = 1}, {lr = 1}, "finetune"]
            cases = ["b-6", "b-7", "b-6"]
            seeds = [0, -1]
            """
        )
    lines = str(caught.value).splitlines()
    assert lines[0] == "grid.toml has 8 mistakes:"
    expected = [
        "methods.1: tmu has no parameter 'lrr'",
        'methods.2: write "tmu", or {name = "tmu", parameter = value}',
        "seeds.1: Input should be greater than or equal to 0",
        "task: unknown key; did you mean 'tasks'?",
        "tasks.1: unknown task 'tony'",
        "tasks: tiny@1 twice",
        "cases.1: task tiny has no case 'b-7'; did you mean 'b-6'?",
        "cases: b-6 twice",
    ]
    for line in expected:
        assert any(found.strip().startswith(line) for found in lines), line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tasks = [", "is not TOML"),
        ("", "tasks: name at least one"),
        ('tasks = ["tiny"]', "methods: name at least one"),
        ('tasks = ["tiny"]\nmethods = ["tmu", {name = "tmu", lr = 0.1}]', "twice"),
        ('tasks = ["tiny"]\nmethods = [{name = "tmu", lrr = [1, 2]}]', "methods.0: tmu has no"),
        ('tasks = ["tiny"]\nmethods = [{name = "tmu", lr = []}]', "methods.0: lr has no value"),
        ('tasks = ["tiny"]\nmethods = ["nothing"]', "methods.0: unknown method"),
        ('tasks = ["tiny"]\nmethods = ["tmu", "for-ensembles"]', "methods: for-ensembles needs an"),
        ('tasks = ["tiny"]\nmethods = ["tmu"]\nseeds = [0, 0]', "seeds: 0 twice"),
        ('tasks = ["tiny"]\nmethods = ["tmu"]\ncases = "some"', "cases: "),
    ],
)
def test_a_mistake_says_where_it_is(read, text, expected):
    with pytest.raises(ValueError, match=r"grid\.toml") as caught:
        read(text)
    assert expected in str(caught.value)
