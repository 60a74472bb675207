"""The gate on real runs: it is quiet about other seeds, and finds what is planted."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mubench._util.hashing import sha256_of
from mubench.cli.main import main
from mubench.record.folder import (
    GOLDS,
    ORIGINALS,
    ResultsFolder,
    read_record,
    readout_beside,
)
from mubench.record.metrics import score
from mubench.record.readout import parse_readout, readout_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
]

CASES = ("8-40", "0-40", "1-40", "2-40")
NEW_SEEDS = range(1, 21)


def run(out: Path, method: str, seeds: Iterable[int], *options: str) -> Path:
    """Records of a method on four cases of digits."""
    cases = [word for case in CASES for word in ("--case", case)]
    words = [word for seed in seeds for word in ("--seed", str(seed))]
    arguments = ["--method", method, "--task", "digits-subset", "--out", str(out), *options]
    result = CliRunner().invoke(main, ["run", *arguments, *cases, *words])
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache for the module, so that golds are trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def noisy_runs(tmp_path_factory):
    """A method that seeds matter to, with 21 seeds. At its default, all of D_f ends up wrong."""
    options = "--set", "stop_accuracy=0.7"
    return run(tmp_path_factory.mktemp("noisy"), "random-label", (0, *NEW_SEEDS), *options)


@pytest.fixture(scope="module")
def good_runs(tmp_path_factory):
    """A method that leaves most of D_f right on any processor, so that δ can rise."""
    return run(tmp_path_factory.mktemp("good"), "finetune", (0,))


def of_seed(runs: Path, seed: int, folder: Path) -> Path:
    """The records with one seed, in a folder of their own."""
    for path in runs.rglob(f"*-seed{seed}-*"):
        target = folder / path.relative_to(runs)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for models in (GOLDS, ORIGINALS):
        shutil.copytree(runs / "digits-subset" / models, folder / "digits-subset" / models)
    return folder


def regress(baseline: Path, new: Path):
    return CliRunner().invoke(main, ["regress", str(baseline), str(new)])


def unlearn_less_well(results: Path, path: Path, points: int) -> None:
    """Makes the model of a record wrong on so much more of D_f that delta rises by the points."""
    record = read_record(path)
    folder = ResultsFolder(results)
    golds = [parse_readout(file.read_bytes(), file.name) for file in folder.golds(record)]
    readout = parse_readout(readout_beside(path).read_bytes(), path.name)
    logits = readout.forget_logits_NK.copy()
    for sample in np.flatnonzero(readout.forget_right_N):
        logits[sample, readout.forget_labels_N[sample]] -= 40
        readout = replace(readout, forget_logits_NK=logits.copy())
        scores = score(readout, golds)
        if scores["delta"].value >= record.metrics["delta"].value + points:
            break
    content = readout_bytes(readout)
    changes = {
        "metrics": scores,
        "readout_sha256": sha256_of(content),
    }
    folder.write(record.model_copy(update=changes), content)


def double_cost(results: Path, path: Path) -> None:
    record = read_record(path)
    names = ("forward_samples", "backward_samples", "epochs_equivalent")
    doubled = {name: 2 * getattr(record.cost, name) for name in names}
    changed = record.model_copy(update={"cost": record.cost.model_copy(update=doubled)})
    ResultsFolder(results).write(changed, readout_beside(path).read_bytes())


def test_twenty_other_seeds_give_at_most_one_alarm(noisy_runs, tmp_path):
    baseline = of_seed(noisy_runs, 0, tmp_path / "baseline")
    results = [regress(baseline, of_seed(noisy_runs, k, tmp_path / f"new-{k}")) for k in NEW_SEEDS]
    assert all("cannot tell" not in result.output for result in results), "four cases are enough"
    alarms = [result.output for result in results if result.exit_code]
    assert len(alarms) <= 1, alarms


def test_the_same_records_pass(good_runs, tmp_path):
    result = regress(*(of_seed(good_runs, 0, tmp_path / name) for name in ("baseline", "new")))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("plant", "measure"),
    [
        (lambda results, path: unlearn_less_well(results, path, 10), "delta"),
        (double_cost, "epochs_equivalent"),
    ],
)
def test_what_is_planted_is_found(good_runs, tmp_path, plant, measure):
    baseline, new = (of_seed(good_runs, 0, tmp_path / name) for name in ("baseline", "new"))
    for path in sorted((new / "digits-subset" / "finetune").glob("*.json")):
        plant(new, path)
    result = regress(baseline, new)
    assert result.exit_code == 1, result.output
    (line,) = [
        line for line in result.output.splitlines() if f" {measure} " in line and "worst" in line
    ]
    assert line.startswith("finetune")
    assert any(case in line for case in CASES)
