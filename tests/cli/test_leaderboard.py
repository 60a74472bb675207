"""`mubench leaderboard`, `plot` and `report`: page, check, excerpt, formats and plots."""

import json
import re

import pytest
from click.testing import CliRunner

from mubench.cli.entries import submit
from mubench.cli.leaderboard import leaderboard, plot
from mubench.cli.main import main
from mubench.cli.run import run
from tests.helpers.boards import three_sizes
from tests.helpers.lab import Lab, edit, make_task, spec_text
from tests.helpers.strangers import install


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """The commands, in a folder with a few records of a task that is not installed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.toml").write_text(spec_text())
    lab = Lab(tmp_path / "results", make_task())
    lab.add_entry("good", accuracy=0.72)
    lab.add_entry("bad", accuracy=0.9)

    def call(*arguments):
        return CliRunner().invoke(main, [*arguments, "--task", "made.toml"])

    call.lab = lab
    call.page = tmp_path / "board" / "README.md"
    return call


def test_page_is_the_same_whatever_came_first(cli, tmp_path):
    assert cli("leaderboard").exit_code == 0
    page = cli.page.read_text()
    again = Lab(tmp_path / "elsewhere" / "results", cli.lab.task)
    for method, accuracy in (("bad", 0.9), ("good", 0.72)):
        for case in reversed(again.cases):
            again.add(method, case, accuracy=accuracy)
    assert cli(
        "leaderboard", "--results", "elsewhere/results", "--page", "elsewhere/board/README.md"
    ).exit_code == 0  # fmt: skip
    assert (tmp_path / "elsewhere" / "board" / "README.md").read_text() == page
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


@pytest.mark.slow
def test_pages_of_methods(cli, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    cli.lab.add_entry("gentle")
    options = ["leaderboard", "--methods", "board/methods"]
    assert cli(*options).exit_code == 0
    page = cli.page.parent / "methods" / "gentle.md"
    assert "Gentle Forgetting" in page.read_text()
    assert "step size" in page.read_text()
    assert "[gentle](methods/gentle.md)" in cli.page.read_text()
    assert "[good]" not in cli.page.read_text()
    (shown,) = re.findall(r"!\[.*?\]\((.*?)\)", page.read_text())
    assert not (page.parent / shown).exists()
    cli("plot")
    lacking = cli(*options, "--check")  # the plot of the method is not there yet
    assert lacking.exit_code == 1
    assert "then `mubench plot --methods`" in lacking.stderr
    assert cli("plot", "--methods").exit_code == 0
    assert (page.parent / shown).is_file()
    assert [path.stem for path in (page.parent / shown).parent.iterdir()] == ["gentle-made"]
    assert cli(*options, "--check").exit_code == 0
    page.write_text("edited")
    assert "gentle.md is stale" in cli(*options, "--check").stderr
    assert page.read_text() == "edited"


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
    assert rows[0]["gap_closed"] > rows[1]["gap_closed"]
    assert rows[2]["gap_closed"] is None
    lines = from_csv.stdout.splitlines()
    assert len(lines) == 4
    column = lines[0].split(",").index("delta")
    assert float(lines[1].split(",")[column]) == pytest.approx(rows[0]["delta"], rel=1e-12)
    assert not cli.page.exists()


def test_what_a_run_wrote_is_read_without_options():
    written = next(o for o in run.params if o.name == "out").default
    assert {next(o for o in command.params if o.name == "results").default
            for command in (leaderboard, plot, submit)} == {written}  # fmt: skip


def test_no_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["leaderboard"])
    assert result.exit_code == 2
    assert "mubench run" in result.stderr
    (tmp_path / "results").mkdir()
    assert CliRunner().invoke(main, ["leaderboard"]).exit_code == 0
    assert "no records yet" in (tmp_path / "board" / "README.md").read_text()
    assert CliRunner().invoke(main, ["leaderboard", "--format", "csv"]).exit_code == 0


@pytest.fixture
def lab(tmp_path):
    return three_sizes(tmp_path / "results")


def test_command(lab, tmp_path):
    (tmp_path / "made.toml").write_text(spec_text(classes=("a", "b"), sizes=(20, 40, 80)))
    arguments = ["--results", str(lab.results), "--out", str(tmp_path / "plots")]
    result = CliRunner().invoke(main, ["plot", *arguments, "--task", str(tmp_path / "made.toml")])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "plots").iterdir())) == 6


PLAN = """
title = "A page"
introduction = "In short."
[[tables]]
name = "delta"
title = "Delta"
task = "made@1"
cells = { A = "a-50" }
measure = "delta"
rows = [{ label = "good" }]
"""


def test_report_writes_a_page_and_tells_a_stale_one(cli, tmp_path):
    (tmp_path / "paper.toml").write_text(PLAN)
    (tmp_path / "paper.csv").write_text("table,row,cell,value\ndelta,Theirs,A,4.5\n")
    report = ["report", "paper.toml", "--page", "pages/paper.md"]
    assert cli(*report, "--check").exit_code == 1
    assert cli(*report).exit_code == 0
    text = (tmp_path / "pages" / "paper.md").read_text()
    assert "4.5" in text and "[paper.toml](../paper.toml)" in text
    assert cli(*report, "--check").exit_code == 0
    edit(next((tmp_path / "results").rglob("*good*/a-50*.json")), metrics__delta__value=0.0)
    stale = cli(*report, "--check")
    assert (stale.exit_code, "rejected" in stale.stderr) == (1, True)
    wrong = cli("report", "paper.toml", "--page", "p.md", "--results", "nowhere")
    assert (wrong.exit_code, "Traceback" in wrong.output) == (2, False)
