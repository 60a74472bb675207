import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from mubench.cli.main import main
from mubench.gate.regress import compare
from mubench.record.check import read_results
from mubench.record.readout import parse_readout
from tests.helpers.lab import Lab, make_task, spec_text

CLASSES = tuple("abcdefghij")


@pytest.fixture
def task():
    return make_task(classes=CLASSES, sizes=(40,))


@pytest.fixture
def lab(tmp_path, task):
    return Lab(tmp_path / "baseline", task)


def fresh_lab(lab, tmp_path, name="new"):
    return Lab(tmp_path / name, lab.task)


def judged(lab, other, **options):
    comparison = compare(
        lab.results, read_results(lab.results, [lab.task]),
        other.results, read_results(other.results, [lab.task]), **options,
    )  # fmt: skip
    return comparison, {finding.measure for finding in comparison.regressions}


def flipped(path, points):
    """A record's readout, right on so many points more of D_f."""
    readout = parse_readout(path.with_suffix(".npz").read_bytes(), path.name)
    wrong = np.flatnonzero(~readout.forget_right_N)
    count = round(points / 100 * len(readout.forget_labels_N))
    logits = readout.forget_logits_NK.copy()
    logits[wrong[:count], 0] += 20
    return readout.__class__(**{**vars_of(readout), "forget_logits_NK": logits})


def vars_of(readout):
    return {name: getattr(readout, name) for name in readout.__dataclass_fields__}


def test_same_records_pass(lab, tmp_path):
    lab.add_entry("m")
    shutil.copytree(lab.results, tmp_path / "new")
    comparison, worse = judged(lab, fresh_lab(lab, tmp_path))
    assert not worse
    assert {f.measure for f in comparison.findings} == {
        "delta", "activation_distance", "label_accuracy", "test_accuracy", "epochs_equivalent",
        "seconds",
    }  # fmt: skip


@pytest.mark.parametrize("cases", [CLASSES, CLASSES[:1]])
def test_ten_points_of_delta_are_found(lab, tmp_path, cases):
    new = fresh_lab(lab, tmp_path)
    for case in (f"{name}-40" for name in cases):
        path = lab.add("m", case, accuracy=0.8)
        new.add("m", case, readout=flipped(path, 10))
    comparison, worse = judged(lab, new)
    assert "delta" in worse
    (finding,) = (f for f in comparison.regressions if f.measure == "delta")
    assert finding.method == "m"
    assert finding.change == pytest.approx(10, abs=0.5)
    assert finding.worst_case in lab.cases


def test_ten_points_with_other_seeds_are_found(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m", accuracy=0.8, seeds=(0,))
    new.add_entry("m", accuracy=0.9, seeds=(1,))
    assert "delta" in judged(lab, new)[1]


def test_better_is_no_regression(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m", accuracy=0.95, knowledge=0.5)
    new.add_entry("m", accuracy=0.72, knowledge=0.8)
    assert not judged(lab, new)[1]


def noisy(lab, case, seed):
    """A run whose accuracy and knowledge depend on its seed, by more than its samples explain."""
    rng = np.random.default_rng([9, seed, lab.cases.index(case)])
    accuracy = float(np.clip(0.8 + rng.normal(0, 0.05), 0, 1))
    return lab.readout(case, rng, accuracy, 0.6, test_accuracy=0.8 + rng.normal(0, 0.01))


def test_seed_noise_is_quiet(lab, tmp_path):
    for case in lab.cases:
        lab.add("m", case, readout=noisy(lab, case, 0))
    alarms = 0
    for seed in range(1, 21):
        new = fresh_lab(lab, tmp_path, f"new-{seed}")
        for case in lab.cases:
            new.add("m", case, seed, readout=noisy(lab, case, seed))
        alarms += bool(judged(lab, new)[1])
    assert alarms <= 1


def test_one_case_with_another_seed_tells_nothing_of_quality(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add("m", "a-40", 0, accuracy=0.7)
    new.add("m", "a-40", 1, accuracy=1.0)
    comparison, worse = judged(lab, new)
    assert not worse
    assert {f.note for f in comparison.findings if f.measure == "delta"} == {
        "cannot tell: other seeds or machine"
    }


def test_several_seeds_tell_what_a_seed_does(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    for seed in range(4):
        lab.add("m", "a-40", seed, accuracy=0.8)
        new.add("m", "a-40", 10 + seed, accuracy=1.0)
    assert "delta" in judged(lab, new)[1]


def test_another_machine_is_like_another_seed(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add("m", "a-40", accuracy=0.7)
    new.add("m", "a-40", accuracy=1.0, device="another processor")
    assert not judged(lab, new)[1]


@pytest.mark.parametrize(("factor", "is_found"), [(1.0, False), (1.2, False), (2.0, True)])
def test_cost(lab, tmp_path, factor, is_found):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m")
    samples = round(1000 * factor)
    new.add_entry("m", forward_samples=samples, backward_samples=samples)
    assert judged(lab, new)[1] == ({"epochs_equivalent"} if is_found else set())


def test_a_method_that_cost_nothing(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m", forward_samples=0, backward_samples=0)
    new.add_entry("m")
    assert judged(lab, new)[1] == {"epochs_equivalent"}


def test_seconds_only_in_one_job_on_one_device(lab, tmp_path):
    lab.add_entry("m")
    slow, elsewhere = fresh_lab(lab, tmp_path), fresh_lab(lab, tmp_path, "elsewhere")
    slow.add_entry("m", seconds=25.0)
    elsewhere.add_entry("m", seconds=25.0, threads=2)
    assert not judged(lab, slow)[1]
    assert judged(lab, slow, same_job=True)[1] == {"seconds"}
    assert not judged(lab, elsewhere, same_job=True)[1]


def test_new_failure(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m")
    new.add("m", "b-40")
    new.fail("m", "a-40", error="RuntimeError: boom")
    comparison, worse = judged(lab, new)
    assert worse == {"status"}
    assert comparison.regressions[0].worst_case == "a-40"
    assert "boom" in comparison.regressions[0].note


def test_golds_trained_anew_change_nothing(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    new.golds("a-40", accuracy=0.5)
    for seed in range(3):
        path = lab.add("m", "a-40", seed)
        readout = parse_readout(path.with_suffix(".npz").read_bytes(), "")
        new.add("m", "a-40", seed, readout=readout)
    comparison, worse = judged(lab, new)
    assert not worse
    assert {f.change for f in comparison.findings if f.measure == "delta"} == {0.0}


def test_what_only_one_side_has(lab, tmp_path):
    new = fresh_lab(lab, tmp_path)
    lab.add_entry("m")
    new.add("m", "a-40")
    new.add("n", "a-40")
    comparison, _ = judged(lab, new)
    assert len(comparison.unpaired) == 2
    with pytest.raises(ValueError, match="in common"):
        other = fresh_lab(lab, tmp_path, "other")
        other.add("o", "a-40")
        judged(lab, other)


@pytest.fixture
def call(lab, tmp_path):
    (tmp_path / "made.toml").write_text(spec_text(classes=CLASSES, sizes=(40,)))

    def call(*arguments):
        folders = [str(lab.results), str(tmp_path / "new")]
        task = ["--task", str(tmp_path / "made.toml")]
        return CliRunner().invoke(main, ["regress", *folders, *task, *arguments])

    return call


def test_command(lab, tmp_path, call):
    lab.add_entry("m")
    new = fresh_lab(lab, tmp_path)
    new.add_entry("m", forward_samples=2000, backward_samples=2000)
    table = call()
    assert table.exit_code == 1
    assert "m (" in table.stdout
    assert "DEARER" in table.stdout
    assert "Worse: the mean over cases" in table.stdout
    markdown = call("--format", "markdown")
    assert markdown.exit_code == 1
    assert markdown.stdout.startswith("### mubench regress: regression")
    assert "worst case a-40: epochs_equivalent" in markdown.stdout
    content = json.loads(call("--format", "json").stdout)
    assert [found["measure"] for found in content["regressions"]] == ["epochs_equivalent"]


def test_command_passes(lab, tmp_path, call):
    lab.add_entry("m")
    shutil.copytree(lab.results, tmp_path / "new")
    assert call().exit_code == 0
    assert call("--format", "markdown").stdout.startswith("### mubench regress: no regression")


def test_command_rejects(lab, tmp_path, call):
    path, *_ = lab.add_entry("m")
    shutil.copytree(lab.results, tmp_path / "new")
    path.with_suffix(".npz").unlink()
    result = call()
    assert result.exit_code == 1
    assert path.name in result.stdout


def test_command_without_records(lab, call):
    lab.add_entry("m")
    assert call().exit_code == 2
