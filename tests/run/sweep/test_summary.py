"""The table at the end of a sweep: a row per task and method, means over what was measured."""

from mubench._util.hashing import sha256_of
from mubench.record.folder import ResultsFolder
from mubench.record.schema import Cost, Metric, Record
from mubench.run.sweep.plan import head_in
from mubench.run.sweep.summary import summary

GRID = """
tasks = ["tiny"]
methods = ["retrain", {name = "finetune", lr = [0.01, 0.1]}]
cases = ["b-6"]
seeds = [0, 1]
"""


def test_a_row_per_method_with_the_parameters_that_vary(read, place):
    cells = read(GRID)
    results = ResultsFolder(place.results)
    for loaded, cell in cells:
        head = head_in(place, loaded, cell)
        if cell.method.name == "finetune" and cell.parameters["lr"] == 0.1:
            cost = Cost(
                seconds=1 + 2 * cell.seed, retrain_seconds=10, epochs_equivalent=1,
                retrain_epochs_equivalent=1, forward_samples=1, backward_samples=1,
                peak_memory_bytes=1,
            )  # fmt: skip
            metrics = {
                "delta": Metric(value=3.0 + cell.seed, count=6),
                "test_accuracy": Metric(value=0.9, count=100),
            }
            outcome = {"status": "ok", "cost": cost, "metrics": metrics}
            outcome["readout_sha256"] = sha256_of(b"readout")
            record = Record.of(head, **outcome, git_revision=None, started_at="now")
            results.write(record, b"readout")
        elif cell.method.name == "retrain":
            record = Record.of(head, status="error", git_revision=None, started_at="now")
            results.write(record, None)
    header, _, *rows, note = [" ".join(line.split()) for line in summary(cells, place).splitlines()]
    assert header == "task method cells δ test acc % seconds of retrain"
    assert sorted(rows) == [
        "tiny finetune (lr=0.01) 0 of 2",
        "tiny finetune (lr=0.1) 2 of 2 3.5 90.0 2.0 0.20",
        "tiny retrain 0 of 2",
    ]
    assert note == "Means over cases and seeds."
