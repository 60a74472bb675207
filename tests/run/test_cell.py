"""One cell, end to end, on the tiny task."""

import json
import os
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from mubench._util.errors import UserError
from mubench.gold.library import MODELS, READOUTS, WEIGHTS
from mubench.gold.train import train
from mubench.method.discovery import load_method
from mubench.method.parameters import configure
from mubench.record.folder import ResultsFolder, read_record
from mubench.record.readout import parse_readout
from mubench.run.cell import Cell, check_fits, measure
from mubench.training.networks import contiguous_tensors
from tests.helpers.methods import method_class
from tests.helpers.stores import copy_of


def ascend(problem):
    def loss(logits_NK, batch):
        return -nn.functional.cross_entropy(logits_NK, batch.labels_N)

    problem.fine_tune(problem.original, problem.forget, epochs=3, lr=0.01, loss=loss)
    return problem.original


def test_a_record_says_everything_and_is_read_back(run, tiny):
    measured = run(ascend)
    record = measured.record
    assert read_record(measured.path) == record
    assert (record.task, record.case, record.method, record.seed) == ("tiny@1", "b-6", "mine", 0)
    assert record.status == "ok"
    assert record.requires == ("forget",)
    assert record.spec_sha == tiny.task.spec_sha
    assert record.data_fingerprint == tiny.data.fingerprint
    assert record.forget_sha256 == tiny.forget_sha256(tiny.cases[0])
    assert [gold.seed for gold in record.golds] == [1, 2]
    assert record.metrics["delta"].count == 6
    assert record.metrics["test_accuracy"].count == 60
    assert record.floor["delta"].count == 2  # ordered pairs of golds
    assert torch.__version__.startswith(record.versions["torch"])
    assert record.cost.backward_samples == 18
    assert record.cost.forward_samples == 18
    assert record.cost.epochs_equivalent == pytest.approx(18 / 240)
    assert record.cost.retrain_epochs_equivalent == pytest.approx(3 * 234 / 240)
    assert record.cost.retrain_seconds > 0
    assert record.cost.operations > 0
    assert (record.cost.unseen_forward_samples, record.cost.unseen_backward_samples) == (0, 0)
    assert record.flags == ()


def test_work_outside_the_problems_networks_costs_as_much_and_is_flagged(run, tiny):
    def ascend_elsewhere(problem):
        network = tiny.fresh(0)
        network.load_state_dict(problem.original.state_dict())
        problem.fine_tune(network, problem.forget, epochs=3, lr=0.01)
        return network

    cost = run(ascend).record.cost
    elsewhere = run(ascend_elsewhere, again=True).record
    assert elsewhere.cost.epochs_equivalent == cost.epochs_equivalent
    assert elsewhere.cost.operations == cost.operations
    assert elsewhere.cost.unseen_backward_samples == elsewhere.cost.backward_samples == 18
    assert elsewhere.flags == ("uncounted-work",)


def test_numbers_follow_from_saved_weights_by_independent_arithmetic(run, library, tmp_path):
    """Delta and activation distance again, from weights and pixels, with torch alone."""
    tiny, models = library.loaded, library.store.root / "models"
    weights = tmp_path / "unlearned.safetensors"
    record = run(ascend, save_weights=weights).record
    forget, _ = tiny.split(tiny.cases[0])
    mean = torch.tensor(tiny.task.data.mean).view(1, 3, 1, 1)
    std = torch.tensor(tiny.task.data.std).view(1, 3, 1, 1)
    images = (forget.images.float() / 255 - mean) / std
    golds = tiny.golds(tiny.cases[0])
    files = [weights, *(models / ref.key / "weights.safetensors" for ref in golds)]
    outputs = []
    for file in files:
        model = tiny.fresh(0).eval()
        model.load_state_dict(safetensors.torch.load(file.read_bytes()))
        with torch.no_grad():
            outputs.append(model(images).double())
    accuracies = [out.argmax(1).eq(forget.labels).double().mean().item() for out in outputs]
    deltas = [100 * abs(accuracies[0] - gold) for gold in accuracies[1:]]
    distances = [
        (outputs[0].softmax(1) - gold.softmax(1)).norm(dim=1).mean().item() for gold in outputs[1:]
    ]
    assert record.metrics["delta"].value == pytest.approx(np.mean(deltas), abs=1e-6)
    assert record.metrics["activation_distance"].value == pytest.approx(
        np.mean(distances), abs=1e-6
    )


def test_the_readout_lies_beside_and_gives_the_same_metrics(run, tmp_path):
    from mubench.record import metrics

    measured = run(ascend)
    record = measured.record
    own = parse_readout(measured.path.with_suffix(".npz").read_bytes(), "own")
    folder = ResultsFolder(tmp_path / "results")
    assert measured.path == folder.record(record)
    assert folder.golds(record) == [
        tmp_path / "results" / "tiny" / "golds" / f"{gold.key[:16]}.npz" for gold in record.golds
    ]
    references = [parse_readout(path.read_bytes(), "gold") for path in folder.golds(record)]
    assert metrics.score(own, references) == record.metrics


def test_same_seed_same_numbers_and_no_second_measurement(run):
    first = run(ascend)
    second = run(ascend)
    assert second.reused
    assert second.record == first.record
    third = run(ascend, again=True)
    assert not third.reused
    assert third.record.metrics == first.record.metrics
    assert third.record.readout_sha256 == first.record.readout_sha256


@pytest.mark.parametrize("damage", ["json", "npz", "other code"])
def test_a_record_that_does_not_hold_is_measured_again(run, damage):
    first = run(ascend)
    if damage == "json":
        first.path.write_text(first.path.read_text()[:100])
    elif damage == "npz":
        first.path.with_suffix(".npz").write_bytes(b"x")
    else:
        changed = json.loads(first.path.read_text()) | {"source_sha256": "1" * 64}
        first.path.write_text(json.dumps(changed))
    second = run(ascend)
    assert not second.reused
    assert second.record.metrics == first.record.metrics


def raising(problem):
    raise RuntimeError("out of ideas\nand more")


def with_nan(problem):
    with torch.no_grad():
        next(problem.original.parameters()).fill_(float("nan"))
    return problem.original


def infinite_outputs(problem):
    with torch.no_grad():
        for parameter in problem.original.parameters():
            parameter.fill_(1e30)
    return problem.original


def explode(problem):
    problem.fine_tune(problem.original, problem.forget, epochs=50, lr=1e12)
    return problem.original


def in_half(problem):
    return problem.original.half()


@pytest.mark.parametrize(
    ("unlearn", "status", "expected"),
    [
        (raising, "error", "RuntimeError: out of ideas"),
        (lambda p: p.retain, "error", "AccessError: the method touched problem.retain"),
        (lambda p: p.gold_labels, "error", "AccessError"),
        (lambda p: None, "error", "returned NoneType, not an nn.Module"),
        (lambda p: nn.Linear(2, 2), "error", "has no"),
        (lambda p: nn.Sequential(p.original), "error", "has no"),
        (in_half, "error", "torch.float16"),
        (with_nan, "diverged", "not all finite"),
        (infinite_outputs, "diverged", "finite"),
        (explode, "diverged", "Diverged: the loss is"),
    ],
)
def test_what_goes_wrong_is_a_record_with_a_status(run, unlearn, status, expected):
    measured = run(unlearn)
    record = read_record(measured.path)
    assert record.status == status
    assert expected in record.error
    assert "\n" not in record.error
    assert record.metrics == {}
    assert record.readout_sha256 is None
    assert not measured.path.with_suffix(".npz").exists()
    assert not run(unlearn).reused  # a failure is never taken for a result


def test_a_method_that_needs_an_extra_layer_is_refused(run):
    def grow(problem):
        problem.original.extra = nn.Linear(2, 2)
        return problem.original

    assert "extra" in run(grow).record.error


def test_the_scored_network_is_the_harnesss_own(run):
    """A method cannot bring a forward pass of its own."""

    def cheat(problem):
        model = problem.original
        model.forward = lambda images: torch.zeros(len(images), 4)
        return model

    honest = run(lambda p: p.original).record
    assert run(method_class(cheat, name="cheat")).record.readout_sha256 == honest.readout_sha256


def test_what_a_method_prints_is_not_data(run, capsys):
    def chatty(problem):
        print("hello")  # noqa: T201 - the point
        return problem.original

    run(chatty)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello" in captured.err


def test_reports_are_scored_after_the_fact(run, library):
    readouts = [stored.readout for stored in library.readouts(library.loaded.cases[0])]
    mask = torch.tensor([True, False, True, True, False, True])

    def predict(problem):
        problem.report("easy", mask)
        return problem.original

    record = run(predict).record
    expected = np.mean([(r.forget_right_N == mask.numpy()).mean() for r in readouts])
    assert record.metrics["predictor_label_accuracy"].value == pytest.approx(expected)
    assert record.reports["easy"] == mask.tolist()


def test_controls_see_what_the_golds_get_right(run, library):
    seen = {}

    def look(problem):
        seen["labels"], seen["probs"] = problem.gold_labels, problem.gold_probabilities
        return problem.original

    method = method_class(look, ("forget", "gold_labels", "gold_probabilities"))
    record = run(method).record
    assert record.status == "ok"
    assert record.control
    readouts = library.readouts(library.loaded.cases[0])
    right = [stored.readout.forget_right_N for stored in readouts]
    assert seen["labels"].tolist() == (np.mean(right, axis=0) > 0.5).tolist()
    probs = [stored.readout.forget_probs_NK for stored in readouts]
    np.testing.assert_allclose(seen["probs"].numpy(), np.mean(probs, axis=0), rtol=1e-6)


def test_a_run_over_budget_is_measured_and_flagged(run):
    def expensive(problem):
        problem.fine_tune(problem.original, problem.retain, epochs=2, lr=1e-3)
        return problem.original

    record = run(expensive, ("retain",)).record
    assert record.flags == ("over-budget",)  # 2 of 3 epochs, the budget is half
    assert record.metrics["delta"].count == 6


def test_the_record_tells_what_went_into_each_part(run):
    def in_parts(problem):
        with problem.part("only step"):
            problem.fine_tune(problem.original, problem.retain, epochs=1, lr=1e-3)
        return problem.original

    cost = run(in_parts, ("retain",)).record.cost
    assert cost.parts == {"only step": cost.forward_samples + 2 * cost.backward_samples}


@pytest.mark.parametrize("name", ["", "`<b>`", "x" * 40])
def test_a_part_of_another_name_is_no_record_s(run, name):
    def in_parts(problem):
        with problem.part(name):
            return problem.original

    record = run(in_parts, ("retain",)).record
    assert record.status == "error"
    assert "words of small letters" in record.error


def test_methods_get_a_private_copy_of_the_data(run, tiny):
    before = tiny.train.images.clone()

    def scribble(problem):
        problem.forget.images.zero_()
        problem.retain.images.zero_()
        problem.holdout.images.zero_()
        return problem.original

    record = run(scribble, ("forget", "retain", "holdout")).record
    assert torch.equal(tiny.train.images, before)
    assert record.metrics["forget_accuracy"].value > 0.5
    held = tiny.holdout.images.float().mean()
    assert held > 50


@pytest.mark.parametrize("name", ["finetune", "retrain", "original"])
def test_builtins_run_through_the_same_door(run, name):
    measured = run(load_method(name))
    assert measured.record.status == "ok"
    if name == "original":
        assert measured.record.cost.epochs_equivalent == 0
    if name == "retrain":
        assert measured.record.cost.epochs_equivalent == pytest.approx(3 * 234 / 240)


def leave_changed(change):
    """A method that changes global state and then does what `ascend` does."""

    def unlearn(problem):
        returned = ascend(problem)
        change()
        return returned

    return unlearn


def leave_a_folder_that_is_gone():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    Path(folder).rmdir()


DISTURBANCES = {
    "gradients off": lambda: torch.set_grad_enabled(False),
    "another dtype": lambda: torch.set_default_dtype(torch.float64),
    "another device": lambda: torch.set_default_device("meta"),
    "more threads": lambda: torch.set_num_threads(7),
    "the deterministic mode": lambda: torch.use_deterministic_algorithms(True),
    "another working folder": lambda: os.chdir("/"),
    "a working folder that is gone": leave_a_folder_that_is_gone,
    "an empty environment": lambda: os.environ.clear(),
    "a closed stdout": lambda: sys.stdout.close(),
    "the random generators": lambda: (random.seed(1), np.random.seed(1)),  # noqa: NPY002
}


@pytest.fixture(scope="module")
def undisturbed(library, tmp_path_factory):
    """The readout of a fine-tune that ran before anything was disturbed."""
    return fine_tuned(library, tmp_path_factory.mktemp("undisturbed"))


def fine_tuned(library, folder):
    method = load_method("finetune")
    cell = Cell(library.loaded.cases[0], method, configure(method, {}), 0)
    return measure(library, cell, ResultsFolder(folder), again=True).record.readout_sha256


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_what_a_method_leaves_changed_disturbs_no_other_cell(
    run, library, undisturbed, tmp_path, monkeypatch, kind
):
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ), torch.get_num_threads()
    measured = run(leave_changed(DISTURBANCES[kind]))
    assert measured.record.status == "ok"
    assert measured.path == tmp_path / "results" / ResultsFolder.file(measured.record)
    assert Path.cwd() == tmp_path
    assert (dict(os.environ), torch.get_num_threads()) == before
    assert fine_tuned(library, tmp_path / "after") == undisturbed


def test_a_method_for_ensembles_is_refused_where_there_is_none(tiny, sharded):
    needy = method_class(ascend, ("forget", "shards"))
    with pytest.raises(UserError, match=r"mine needs an original that is an ens.* of tiny is"):
        check_fits(needy, tiny.task)
    check_fits(needy, sharded.task)
    check_fits(method_class(ascend), tiny.task)


def test_a_method_that_takes_back_updates_is_refused_where_the_original_is_an_ensemble(
    tiny, sharded
):
    needy = method_class(ascend, ("forget", "update_log"))
    with pytest.raises(UserError, match="mine needs a log of one network's updates"):
        check_fits(needy, sharded.task)
    check_fits(needy, tiny.task)


def test_the_log_of_updates_is_that_of_the_cells_original_and_case(run, library):
    """It is no work of the method's."""
    loaded = library.loaded
    ref = loaded.update_log_ref(loaded.originals[0])
    train(library, ref)

    def take_back(problem):
        expected = library.update_log(ref, loaded.cases[0])
        assert problem.update_log.keys() == expected.keys()
        assert all(torch.equal(problem.update_log[name], value) for name, value in expected.items())
        return problem.original

    record = run(take_back, ("update_log",)).record
    assert record.error is None
    assert record.requires == ("update_log",)
    assert (record.cost.forward_samples, record.cost.backward_samples) == (0, 0)


def test_with_a_log_a_method_starts_from_the_original_that_the_log_is_of(library, tmp_path):
    """Another processor may have made the original, and what it learned is in no log."""
    own = copy_of(library, tmp_path / "copy")
    loaded, case = own.loaded, own.loaded.cases[0]
    original = loaded.originals[0]
    ref = loaded.update_log_ref(original)
    train(own, ref)
    entry, elsewhere = own.model_entry(original), own.model(original)
    with torch.no_grad():
        for weight in elsewhere.parameters():
            weight.mul_(0.9)
    content = safetensors.torch.save(contiguous_tensors(elsewhere.state_dict()))
    own.store.write(MODELS, original.key, {WEIGHTS: content}, entry.provenance, replace=True)
    own.store.remove(READOUTS, loaded.readout_key(original, case))

    starts, nothing = {}, {}
    for needs in ("retain", "update_log"):

        def note(problem, needs=needs):
            starts[needs] = {name: w.clone() for name, w in problem.original.state_dict().items()}
            return problem.original

        method = method_class(note, (needs,))
        cell = Cell(case, method, configure(method, {}), 0)
        record = measure(own, cell, ResultsFolder(tmp_path / needs)).record
        assert "no-op" in record.flags
        assert record.nothing["delta"] == record.metrics["delta"]
        nothing[needs] = record.nothing_readout_sha256
    for needs, model in (("retain", elsewhere), ("update_log", own.model(ref))):
        expected = model.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in starts[needs].items())
    assert nothing["retain"] != nothing["update_log"]
