import io
import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from mubench._util.hashing import sha256_of
from mubench.board.page import excerpt, frame, render
from mubench.board.plots.style import planned
from mubench.board.ranking import Standing, build
from mubench.cli.main import main
from mubench.record.check import read_results
from mubench.record.metrics import score
from mubench.record.readout import parse_readout, read_arrays, readout_bytes
from mubench.record.stacked import Models, recompute
from tests.helpers.lab import Lab, edit, make_task, spec_text


@pytest.fixture
def task():
    return make_task()


@pytest.fixture
def lab(tmp_path, task):
    return Lab(tmp_path / "results", task)


def boards(lab):
    read = read_results(lab.results, [lab.task])
    assert read.rejected == ()
    return build(read.checked, [lab.task])


def entries(lab):
    (board,) = boards(lab)
    return {entry.label: entry for entry in board.entries}


# What is recomputed


def test_recompute_is_score(lab):
    rng = np.random.default_rng(0)
    golds = lab.golds("a-50")[0]
    models = [lab.readout("a-50", rng, accuracy, 0.5) for accuracy in (0.0, 0.3, 0.7, 1.0)]

    def stack(readouts):
        return Models.of([read_arrays(readout_bytes(r), "") for r in readouts])

    values, stderrs = recompute(stack(models), stack(golds))
    for row, model in enumerate(models):
        scores = score(model, golds)
        assert values.keys() == scores.keys()
        for name, each in values.items():
            assert each[row] == pytest.approx(scores[name].value, abs=1e-12)
        for name, each in stderrs.items():
            assert each[row] == pytest.approx(scores[name].stderr, abs=1e-12)


# What is rejected


def only_rejected(lab, path):
    """The reason for which `path` is rejected, and nothing else is."""
    read = read_results(lab.results, [lab.task])
    (rejected,) = read.rejected
    assert rejected.file == path.relative_to(lab.results).as_posix()
    assert read.checked
    assert re.match(r"its? |\S+\.(json|npz) is ", rejected.reason), "a sentence of its own"
    return rejected.reason


@pytest.mark.parametrize(
    "name",
    [
        "metrics__delta__value", "metrics__delta_signed__value", "metrics__test_accuracy__value",
        "metrics__retain_accuracy__value", "metrics__activation_distance__value",
        "metrics__js_divergence__value", "metrics__label_accuracy__value", "metrics__tow__value",
        "metrics__all_easy_rate__value", "floor__delta__value", "cost__epochs_equivalent",
        "cost__retrain_epochs_equivalent", "cost__backward_samples",
    ],
)  # fmt: skip
def test_edited_number(lab, name):
    path, *_ = lab.add_entry("m")
    content = json.loads(path.read_text())
    for part in name.split("__"):
        content = content[part]
    edit(path, **{name: content + 1})
    assert "and should state" in only_rejected(lab, path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec_sha": "f" * 64}, "another spec of made@1"),
        ({"case": "z-50"}, "not where it belongs"),
        ({"budget": 9.0}, "states budget = 9.0, and should state 0.5"),
        ({"golds": []}, "states golds = 0, and should state 3"),
        ({"flags": ["over-budget"]}, "its flags deny it"),
        ({"cost": None}, "states no cost"),
        ({"status": "error"}, "status error and yet metrics"),
        ({"metrics": {}}, "states no delta_signed"),
        ({"seed": "one"}, "is not a record: seed"),
        ({"readout_sha256": "0" * 64}, "than the one here"),
    ],
)
def test_edited_field(lab, changes, reason):
    path, *_ = lab.add_entry("m")
    edit(path, **changes)
    assert reason in only_rejected(lab, path)


def test_case_of_another_task(lab):
    lab.add("m", "a-50")
    stranger = Lab(lab.results, make_task("made", classes=("a", "z"))).add("m", "z-50")
    edit(stranger, spec_sha=lab.task.spec_sha)
    assert "case z-50, which made@1 does not have" in only_rejected(lab, stranger)


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


def test_not_json(lab):
    path, *_ = lab.add_entry("m")
    path.write_bytes(b"\xff{")
    assert only_rejected(lab, path).startswith(f"{path.name} is not a record: Invalid JSON")


def test_missing_and_exchanged_readout(lab):
    path, other, *_ = lab.add_entry("m")
    content = other.with_suffix(".npz").read_bytes()
    path.with_suffix(".npz").unlink()
    assert "is missing" in only_rejected(lab, path)
    path.with_suffix(".npz").write_bytes(content)
    assert "than the one here" in only_rejected(lab, path)


@pytest.mark.parametrize("end", [None, 0, 4, 20, 200, 0.5, -100, -5])
def test_readout_that_is_none(lab, end):
    path, *_ = lab.add_entry("m")
    whole = path.with_suffix(".npz").read_bytes()
    end = len(whole) // 2 if end == 0.5 else end
    content = b"none" if end is None else whole[:end]
    path.with_suffix(".npz").write_bytes(content)
    edit(path, readout_sha256=sha256_of(content))
    assert "is not a readout" in only_rejected(lab, path)
    with pytest.raises(ValueError, match="x is not a readout"):
        parse_readout(content, "x")


def test_readout_is_read_as_numpy_reads_it(lab):
    content = lab.add("m", "a-50").with_suffix(".npz").read_bytes()
    with np.load(io.BytesIO(content)) as arrays:
        theirs = {name: arrays[name] for name in arrays if name != "test_logits"}
    ours = read_arrays(content, "")
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert array.dtype == ours[name].dtype
        np.testing.assert_array_equal(array, ours[name])


def test_damaged_gold_rejects_the_records_of_its_case(lab):
    path, *_ = lab.add_entry("m")
    gold = json.loads(path.read_text())["golds"][0]["key"][:16]
    file = lab.results / "made" / "golds" / f"{gold}.npz"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert f"readout {gold}.npz than the one here" in only_rejected(lab, path)


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


@pytest.mark.parametrize("name", ["mia_auc__value", "delta__count", "delta_signed__stderr"])
def test_thorough_reading_checks_what_no_page_prints(tmp_path, task, name):
    lab = Lab(tmp_path, task, num_peers=30)
    path = lab.add("m", "a-50")
    lab.add("m", "b-50")
    assert read_results(tmp_path, [task], thorough=True).rejected == ()
    edit(path, **{f"metrics__{name}": 7})
    assert read_results(tmp_path, [task]).rejected == ()
    (rejected,) = read_results(tmp_path, [task], thorough=True).rejected
    assert f"states {name.replace('__', ' ')} = 7" in rejected.reason


def test_thorough_reading_finds_what_readouts_do_not_give(lab):
    path = lab.add("m", "a-50")
    edit(path, metrics__made_up={"value": 1.0, "count": 1})
    (rejected,) = read_results(lab.results, [lab.task], thorough=True).rejected
    assert "made_up" in rejected.reason


# Who ranks where


def test_order_and_ranks(lab):
    lab.add_entry("good", accuracy=0.72)
    lab.add_entry("equal", accuracy=0.72)
    lab.add_entry("worse", accuracy=0.9)
    lab.add_entry("guess", accuracy=0.7, knowledge=0.0)  # the best delta, on the wrong samples
    lab.add_entry("original", accuracy=1.0, control=True)
    (board,) = boards(lab)
    found = [(e.label, e.rank, e.standing, e.passes_sample_test) for e in board.entries]
    assert found == [
        ("equal", 1, Standing.RANKED, True),
        ("good", 1, Standing.RANKED, True),
        ("worse", 3, Standing.RANKED, True),
        ("guess", 4, Standing.RANKED, False),
        ("original", None, Standing.CONTROL, True),
    ]
    means = {e.label: e.intervals["delta"].mean for e in board.entries}
    assert means["guess"] < means["good"]
    assert board.floor_intervals["delta"].mean > 0


def test_shared_rank_ends_at_the_first_that_the_leader_beats(lab):
    lab.add_entry("leader", accuracy=0.72)
    for case, accuracy in zip(lab.cases, (0.72, 0.9, 0.72, 0.72), strict=True):
        lab.add("noisy", case, accuracy=accuracy)
    lab.add_entry("beaten", accuracy=0.8)
    for case, accuracy in zip(lab.cases, (0.72, 1.0, 0.72, 0.92), strict=True):
        lab.add("noisier", case, accuracy=accuracy)
    (board,) = boards(lab)
    ranks = {entry.label: entry.rank for entry in board.entries}
    assert ranks == {"leader": 1, "noisy": 1, "beaten": 3, "noisier": 3}


def test_intervals_are_over_cases_with_seeds_nested(lab):
    for case, accuracies in zip(lab.cases, ((0.8, 1.0), (0.8,), (0.9,), (0.7,)), strict=True):
        for seed, accuracy in enumerate(accuracies):
            lab.add("m", case, seed, accuracy)
    delta = entries(lab)["m"].intervals["delta_signed"]
    assert delta.mean == pytest.approx(100 * (np.mean([0.9, 0.8, 0.9, 0.7]) - 0.7), abs=0.7)
    expected = 3.182 * np.std([0.9, 0.8, 0.9, 0.7], ddof=1) / 2 * 100
    assert delta.half_width == pytest.approx(expected, rel=0.01)


def test_why_entries_are_not_ranked(lab):
    lab.add_entry("ranked")
    lab.add("half", "a-50")
    lab.add_entry("dear", forward_samples=9000, backward_samples=9000)
    for case in lab.cases[1:]:
        lab.add("broken", case)
    lab.fail("broken", "a-50", error="RuntimeError: a | b")
    lab.fail("hopeless", "a-50")
    found = entries(lab)
    standings = {label: entry.standing for label, entry in found.items()}
    assert standings == {
        "ranked": Standing.RANKED,
        "half": Standing.PROVISIONAL,
        "dear": Standing.OVER_BUDGET,
        "broken": Standing.FAILED,
        "hopeless": Standing.FAILED,
    }
    assert [entry.rank for entry in found.values() if entry.rank] == [1]
    assert "1 of 4 cases" in found["half"].notes
    (board,) = boards(lab)
    page = render([board], [], "results")
    assert r"| broken   | a-50   | 0      | error    | RuntimeError: a \| b |" in page


def test_guessing_fails_where_golds_are_mostly_wrong(tmp_path):
    lab = Lab(tmp_path / "results", make_task(classes=tuple("abcdefgh")))
    for case in lab.cases:
        lab.golds(case, accuracy=0.3)
    lab.add_entry("guess", accuracy=0.3, knowledge=0.0)
    lab.add_entry("knows", accuracy=0.3, knowledge=0.9)
    (board,) = boards(lab)
    by_label = {entry.label: entry for entry in board.entries}
    guess = by_label["guess"].intervals
    assert guess["label_accuracy"].mean > guess["all_easy_rate"].mean
    assert not by_label["guess"].passes_sample_test
    assert by_label["knows"].passes_sample_test
    assert "over calling every sample hard: a-50 (70" in render([board], [], "results")


def test_missing_seeds_are_provisional(tmp_path):
    lab = Lab(tmp_path, make_task(seeds=2))
    lab.add_entry("one")
    lab.add_entry("two", seeds=(0, 1))
    found = entries(lab)
    assert found["one"].standing is Standing.PROVISIONAL
    assert "1 of 2 seeds" in found["one"].notes
    assert found["two"].standing is Standing.RANKED


def test_one_case_tells_nothing_apart(tmp_path):
    lab = Lab(tmp_path, make_task(classes=("a",)))
    lab.add_entry("good", accuracy=0.7)
    lab.add_entry("bad", accuracy=0.1)
    assert {entry.rank for entry in entries(lab).values()} == {1}


def test_parameters_make_entries(lab):
    lab.add_entry("m", parameters={"lr": 0.1, "last": {"epochs": 1}})
    lab.add("m", "a-50", parameters={"lr": 0.2, "last": {"epochs": 1}})
    lab.add("m", "b-50", parameters={"lr": 0.1, "last": {"epochs": 3}})
    assert entries(lab).keys() == {"m", "m (lr=0.2)", "m (last.epochs=3)"}


def test_flags_and_mixed_code_are_shown(lab):
    first, second, *_ = lab.add_entry("m")
    edit(first, flags=["no-op"])
    edit(second, source_sha256="3" * 64)
    edit(second, isolated=False)
    assert entries(lab)["m"].notes == (
        "no-op in 1 of 4 runs", "not isolated in 1 of 4 runs", "2 versions of its code"
    )  # fmt: skip


# The page


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """The commands, in a folder with a few records of a task that is not installed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.toml").write_text(spec_text())
    lab = Lab(tmp_path / "leaderboard" / "results", make_task())
    lab.add_entry("good", accuracy=0.72)
    lab.add_entry("bad", accuracy=0.9)

    def call(*arguments):
        return CliRunner().invoke(main, [*arguments, "--task", "made.toml"])

    call.lab = lab
    call.page = tmp_path / "leaderboard" / "README.md"
    return call


def test_page_is_the_same_whatever_came_first(cli, tmp_path):
    assert cli("leaderboard").exit_code == 0
    page = cli.page.read_text()
    again = Lab(tmp_path / "elsewhere" / "results", cli.lab.task)
    for method, accuracy in (("bad", 0.9), ("good", 0.72)):
        for case in reversed(again.cases):
            again.add(method, case, accuracy=accuracy)
    assert cli(
        "leaderboard", "--results", "elsewhere/results", "--page", "elsewhere/README.md"
    ).exit_code == 0  # fmt: skip
    assert (tmp_path / "elsewhere" / "README.md").read_text() == page
    assert str(tmp_path) not in page


def test_check(cli):
    assert cli("leaderboard", "--check").exit_code == 1
    cli("leaderboard")
    stale = cli("leaderboard", "--check")  # it links plots that are not there
    assert stale.exit_code == 1
    assert "mubench plot" in stale.stderr
    cli("plot")
    before = cli.page.read_bytes()
    assert cli("leaderboard", "--check").exit_code == 0
    cli.lab.add("new", "a-50")
    assert cli("leaderboard", "--check").exit_code == 1
    assert cli.page.read_bytes() == before
    cli("leaderboard")
    assert cli("leaderboard", "--check").exit_code == 0


def test_an_excerpt_is_kept_up_to_date(cli, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- board -->\nwords of before\n<!-- end of board -->\nafter\n")
    command = ("leaderboard", "--excerpt", "README.md")
    cli("plot")
    assert cli(*command).exit_code == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- board -->\n")
    assert text.endswith("\n<!-- end of board -->\nafter\n")
    assert "words of before" not in text
    assert "| good " in text
    for link in re.findall(r"\]\((.*?)\)", text):
        assert (tmp_path / link).is_file()
    assert cli(*command, "--check").exit_code == 0
    readme.write_text(text.replace("| good ", "| best "))
    stale = cli(*command, "--check")
    assert stale.exit_code == 1
    assert "README.md is stale" in stale.stderr
    readme.write_text("no marks")
    assert cli(*command).exit_code == 2


def test_rejected_records_are_named_and_the_others_rendered(cli):
    path = cli.lab.add("odd", "a-50")
    edit(path, metrics__delta__value=0.0)
    result = cli("leaderboard")
    assert result.exit_code == 1
    assert "made/odd/a-50-seed0" in result.stderr
    page = cli.page.read_text()
    assert "| good " in page
    assert "| odd " not in page
    rejected = page.partition("## Rejected records")[2]
    assert f"`made/odd/{path.name}`" in rejected


def test_formats_give_the_same_table(cli):
    from_csv = cli("leaderboard", "--format", "csv")
    from_json = cli("leaderboard", "--format", "json")
    rows = json.loads(from_json.stdout)
    assert [row["method"] for row in rows] == ["good", "bad", "floor"]
    assert rows[0]["rank"] == 1
    assert rows[2]["rank"] is None
    lines = from_csv.stdout.splitlines()
    assert len(lines) == 4
    column = lines[0].split(",").index("delta")
    assert float(lines[1].split(",")[column]) == pytest.approx(rows[0]["delta"], rel=1e-12)
    assert not cli.page.exists()


def test_page_links_the_planned_plots(lab):
    lab.add_entry("m")
    (board,) = boards(lab)
    page = render([board], [], "results")
    assert [plot.kind for plot in planned(board)] == ["cost", "cases"]
    for plot in planned(board):
        assert f"plots/{plot.stem(board)}.png" in page
        assert f"plots/{plot.stem(board)}.svg" in page


def test_sizes_have_tables_of_their_own(tmp_path):
    lab = Lab(tmp_path / "results", make_task(classes=("a", "b"), sizes=(20, 80)))
    lab.add_entry("idle", accuracy=1.0, control=True)
    paths = lab.add_entry("m")
    lab.add("part", "a-80")
    text = render(boards(lab), [], "results")
    assert "differ in size alone" not in text
    for heading, metric, scale, spec in (
        ("δ over |D_f|", "delta", 1, ".1f"),
        ("Label gain over |D_f|", "label_gain", 100, "+.1f"),
    ):
        lines = text.partition(f"\n{heading}")[2].split("\n\n")[1].splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        stated = {path.name: json.loads(path.read_text()) for path in paths}
        m = [
            f"{np.mean([scale * r['metrics'][metric]['value'] for r in of_size]):{spec}}"
            for size in (20, 80)
            if (of_size := [r for r in stated.values() if r["case"].endswith(f"-{size}")])
        ]
        assert rows[0] == ["method", "20", "80"]
        assert [row[0] for row in rows[2:]] == ["m", "part", "*floor*", "*idle*"]
        assert rows[2][1:] == m
        assert rows[3][1] == ""
        assert rows[3][2]


def test_tasks_of_one_size_come_first(tmp_path):
    sized = Lab(tmp_path / "results", make_task("a-task", sizes=(20, 40)))
    plain = Lab(tmp_path / "results", make_task("b-task"))
    for lab in (sized, plain):
        lab.add_entry("m")
    tasks = [sized.task, plain.task]
    built = build(read_results(tmp_path / "results", tasks).checked, tasks)
    assert [board.task.name for board in built] == ["b-task", "a-task"]


def test_sizes_of_one_class(tmp_path):
    lab = Lab(tmp_path / "results", make_task(classes=("a",), sizes=(20, 40)))
    lab.add_entry("m")
    assert "differ in size alone" in render(boards(lab), [], "results")
    marked = "<!-- board -->\n<!-- end of board -->\n"
    short = excerpt(marked, boards(lab), "board/README.md")
    assert "| method" not in short
    assert "](board/plots/made-scaling.png)" in short


def test_no_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["leaderboard"])
    assert result.exit_code == 2
    assert "mubench run" in result.stderr
    (tmp_path / "leaderboard" / "results").mkdir(parents=True)
    assert CliRunner().invoke(main, ["leaderboard"]).exit_code == 0
    assert "no records yet" in (tmp_path / "leaderboard" / "README.md").read_text()
    assert CliRunner().invoke(main, ["leaderboard", "--format", "csv"]).exit_code == 0


def test_frame_has_numbers_for_programs(lab):
    lab.add_entry("m", accuracy=0.9)
    table = frame(boards(lab)).set_index("method")
    assert table.loc["m", "delta"] == pytest.approx(20, abs=1)
    assert table.loc["m", "cases"] == 4
    assert table.loc["floor", "standing"] == "floor"
