"""Real CIFAR-10, from pixels to a record, with a recipe cut short; needs MUBENCH_DATA."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from mubench.cli.main import main
from tests.helpers.places import ROOT

BATCHES = Path(os.environ.get("MUBENCH_DATA", "/nowhere")) / "cifar-10-batches-py"
SHORTER = {
    'name = "resnet18"\nwidth = 16': (
        'name = "vit"\nwidth = 48\noptions = { depth = 1, heads = 2, patch = 8 }'
    ),
    "epochs = 10": "epochs = 1",
    "golds = 3": "golds = 2",
    "budget = 0.5": "budget = 5",
    'precision = "bfloat16"': 'precision = "float32"',
}
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not BATCHES.is_dir(), reason="set MUBENCH_DATA to run on real CIFAR-10"),
]


@pytest.fixture(scope="module")
def short_task():
    """`cifar10-subset` with a network of matrix products alone, one epoch and two golds.

    Convolutions, and bfloat16 in particular, take ten times as long on some processors as on
    others. Matrix products in float32 are fast on each.
    """
    text = (ROOT / "tasks/cifar10-subset.toml").read_text()
    for old, new in SHORTER.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_tmu_on_real_cifar10(short_task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("short.toml").write_text(short_task)
    arguments = ["run", "--method", "tmu", "--task", "short.toml", "--format", "json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["case"] == "cat-100"
    assert record["status"] == "ok"
    metrics = record["metrics"]
    assert metrics["delta"]["count"] == 100
    assert metrics["test_accuracy"]["count"] == 5000
    assert metrics["retain_accuracy"]["count"] == 49900
    assert 0.2 < metrics["test_accuracy"]["value"] < 0.9  # it did learn something
    assert 0 <= metrics["delta"]["value"] <= 100
    assert len(record["reports"]["easy"]) == 100
    assert record["cost"]["seconds"] > 1
