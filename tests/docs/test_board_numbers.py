"""The page's numbers, recomputed from the files beside the records by plain numpy alone.

Nothing here is imported from the package: a mistake that the page and its reader share is found.
"""

import json
import re
from itertools import product

import numpy as np
import pytest

from tests.helpers.places import ROOT

TASK = ROOT / "leaderboard" / "results" / "cifar10-subset"
PAGE = ROOT / "leaderboard" / "README.md"

pytestmark = pytest.mark.skipif(not TASK.is_dir(), reason="runs from an installed wheel")


def margins(path):
    """Logit of the true class less the logsumexp of the others, (N,), within ±5."""
    with np.load(path) as readout:
        logits, labels = readout["forget_logits"].astype(np.float64), readout["forget_labels"]
    rows = np.arange(len(labels))
    true = logits[rows, labels]
    logits[rows, labels] = -np.inf
    return np.clip(true - np.logaddexp.reduce(logits, axis=1), -5, 5)


def distances(path, record):
    """Margin distance of a run, of nothing and of the floor, each to the golds of the case."""
    golds = [margins(TASK / "golds" / f"{gold['key'][:16]}.npz") for gold in record["golds"]]
    start = f"{record['case']}-{record['nothing_readout_sha256'][:16]}.npz"
    models = [margins(path.with_suffix(".npz")), margins(TASK / "originals" / start)]
    own = [np.mean([abs(model - gold).mean() for gold in golds]) for model in models]
    pairs = [(a, b) for a in range(len(golds)) for b in range(len(golds)) if a != b]
    return (*own, np.mean([abs(golds[a] - golds[b]).mean() for a, b in pairs]))


@pytest.fixture(scope="module")
def cases():
    """(method, preset) to a row per case: margin distance of the run, of nothing, of the floor.

    Each is the mean over the seeds of the case.
    """
    rows = {}
    for path in sorted(TASK.glob("*/*.json")):
        record = json.loads(path.read_text())
        if record["status"] == "ok" and not record["control"]:
            seeds = rows.setdefault((record["method"], record["preset"]), {})
            seeds.setdefault(record["case"], []).append(distances(path, record))
    return {
        key: np.array([np.mean(own, axis=0) for own in seeds.values()])
        for key, seeds in rows.items()
        if len(seeds) == 10
    }


def printed(column):
    """Entry to the cell of a column, of the first table that has the column."""
    lines = PAGE.read_text().splitlines()
    (start, *_) = [n for n, line in enumerate(lines) if f" {column} " in line]
    heads = [cell.strip() for cell in lines[start].split("|")]
    table = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.split("|")]
        label = re.sub(r"^\[(.*)\]\(.*\)$", r"\1", cells[heads.index("method")])
        table[label] = cells[heads.index(column)]
    return table


def name(key):
    method, preset = key
    return f"{method} ({preset})" if preset else method


def test_gap_closed(cases):
    page = printed("gap closed")
    assert len(cases) >= 20
    for key, rows in cases.items():
        own, nothing, floor = rows.mean(axis=0)
        (cell,) = re.findall(r"^-?[\d.]+", page[name(key)])
        assert float(cell) == pytest.approx((nothing - own) / (nothing - floor), abs=0.0051)


def test_p_of_being_better_than_nothing(cases):
    page = printed("margin below nothing")
    signs = np.array(list(product([1, -1], repeat=10)))
    raw = {}
    for key, rows in cases.items():
        relevant = 0.05 * np.maximum(rows[:, 1] - rows[:, 2], 0)
        gained = rows[:, 1] - rows[:, 0] - relevant
        raw[key] = np.mean(signs @ gained >= gained.sum() - 1e-9)
    least = 1.0
    ordered = sorted(raw, key=raw.get)
    for place, key in reversed(list(enumerate(ordered, 1))):  # Benjamini and Hochberg's step-up
        least = min(least, raw[key] * len(raw) / place)
        assert float(page[name(key)]) == pytest.approx(least, abs=0.00051), key
