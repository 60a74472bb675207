"""Conformance: every installed method holds to it, and each defect is found by its own check."""

import re
import time

import pytest

from mubench.method.checks.checks import CHECKS, CheckFailure, check_method, run_checks
from mubench.method.checks.trial_run import NUM_SHARDS, stage
from mubench.method.discovery import available_methods, load_method
from mubench.record import metrics
from mubench.training import loop
from tests.helpers.defects import RETURN, before_return, write
from tests.helpers.places import BAD_PLUGINS

MOST_STAGES = 40
"""How often an original of the checks could be trained while a method is checked. The slowest takes
fifteen times as long."""


@pytest.fixture(scope="module")
def stage_seconds():
    """Seconds that training an original of the checks takes this process, beside other tests."""
    for shards in (None, NUM_SHARDS):
        stage(shards)  # made once for all methods
    started = time.process_time()
    stage.__wrapped__(None)
    return time.process_time() - started


@pytest.mark.parametrize("name", sorted(available_methods()))
def test_every_installed_method_conforms(name, stage_seconds):
    started = time.process_time()
    failed = [result for result in run_checks(name) if result.status == "failed"]
    assert not failed
    assert time.process_time() - started < MOST_STAGES * stage_seconds


DEFECTS = [
    ("documented", {'    """Fine-tunes on D_f."""\n': ""}, "has no docstring"),
    ("documented", {"  # step size": ""}, "no comment behind lr"),
    ("parameters", {"= 0.01  #": "= -0.01  #", "lr=self.lr": "lr=0.1"}, "greater than 0"),
    ("parameters", {"lr: Annotated[float, Gt(0)] = 0.01": "lr: Any = print",
                    "lr=self.lr": "lr=0.1"}, "do not survive JSON"),
    ("parameters", {"lr: Annotated[float, Gt(0)] = 0.01": "lr: Any = (0.01,)",
                    "lr=self.lr": "lr=self.lr[0]"}, "comes back from JSON as"),
    ("parameters", {"    lr: Annotated": '    presets: ClassVar = {"paper": {"lrr": 1}}\n'
                    "    lr: Annotated"}, "a preset does not hold: .*no parameter 'lrr'"),
    ("unlearns", {RETURN: "        raise KeyError('lost')\n"}, r"KeyError: 'lost' \(mine.py:35\)"),
    ("unlearns", {RETURN: "        sys.exit(0)\n"}, "SystemExit"),
    ("access", {'"forget", "retain"}': '"retain"}',
                "forget, retain = problem.forget, problem.retain":
                "retain = problem.retain\n        try: problem.forget\n"
                "        except RuntimeError: pass\n        forget = retain"},
     "problem.forget, which `requires` does not name: add 'forget'"),
    ("returned_model", {RETURN: "        return None\n"}, "NoneType: it must return"),
    ("returned_model", {RETURN: "        return nn.Sequential(model)\n"}, "the returned model has"),
    ("returned_model", {RETURN: "        return model.double()\n"}, "convert it back"),
    ("returned_model", before_return("nn.init.constant_(model.head.bias, float('nan'))"),
     "head.bias is infinite or NaN"),
    ("left_clean", before_return("model.head.register_forward_hook(print)"), "a hook is left"),
    ("left_clean", before_return("model.head.weight.requires_grad_(False)"), "head.weight is left"),
    ("left_clean", before_return("model.head.forward = model.head.forward"), "forward of head"),
    ("changes_weights", {"problem.fine_tune": "0 and problem.fine_tune"}, "are the original's"),
    ("same_seed", before_return("STATE.append(0); nn.init.constant_(model.head.bias, len(STATE))"),
     "differ in head.bias"),
    ("same_seed", before_return("STATE.append((len(forget), problem.seed))\n"
                                "        assert STATE.count(STATE[-1]) < 2"), "once more makes"),
    ("other_seed", before_return("assert problem.seed == 0"), "AssertionError"),
    ("one_sample", before_return("assert len(forget) > 1"), "a forget set of one sample makes"),
    ("one_sample", before_return("nn.init.constant_(model.head.bias, float('nan'))"
                                 " if len(forget) == 1 else 0"),
     "makes the returned head.bias infinite or NaN"),
    ("whole_class", before_return("assert forget.labels[0] in retain.labels"), "whole class"),
    ("ragged_batches", before_return(
        "if len(forget) > 1:\n"
        "            model.train()\n"
        "            [model(problem.normalise(x)) for x in forget.images.split(32)]"),
     "never make one"),
    ("inputs_untouched", before_return("retain.labels.zero_()"), "problem.retain in place"),
    ("global_state", before_return("torch.set_default_dtype(torch.float64)"), "default dtype"),
    ("global_state", before_return("torch.set_num_threads(3)"), "number of threads"),
    ("global_state", before_return("torch.set_grad_enabled(False)"), "grad mode"),
    ("global_state", before_return("torch.set_default_device('meta')"), "default device"),
    ("global_state", before_return("torch.use_deterministic_algorithms(True)"), "deterministic"),
    ("global_state", before_return("random.random()"), "Python's random generator"),
    ("global_state", before_return("np.random.rand()"), "numpy's random generator"),
    ("global_state", before_return("os.chdir('/')"), "working folder"),
    ("global_state", before_return("os.environ['MUBENCH_CACHE'] = '/'"), "environment"),
    ("global_state", before_return("mubench.training.loop.predict = print"), "loop.predict"),
    ("global_state", before_return("type(problem).report = print"), "Problem.report"),
    ("prints_nothing", before_return("print('hello')"), "prints 'hello'"),
    ("prints_nothing", before_return("print('hello', file=sys.stderr)"), "prints 'hello'"),
    ("writes_nothing", before_return("Path('a').write_text('b')"), "writes a"),
    ("writes_nothing", before_return("torch.save({}, 'weights.pt')"), "weights.pt"),
    ("writes_nothing", before_return("Path('a').mkdir()"), "writes a"),
    ("needs_no_network", before_return(
        "with socket.socket() as s: s.connect_ex(('127.0.0.1', 9))"), "127.0.0.1"),
    ("starts_no_process", before_return("subprocess.run(['true'])"), "true"),
    ("starts_no_process", before_return("os.system('true')"), "true"),
    ("stays_blind", before_return("list(cache_root().iterdir())"), "cache"),
    ("stays_blind", before_return("sys._getframe(1)"), "sys._getframe"),
    ("stays_blind", before_return("gc.get_objects()"), "gc.get_objects"),
]  # fmt: skip


def test_the_good_method_is_good(tmp_path):
    assert {result.status for result in run_checks(write(tmp_path, {}))} == {"ok"}


@pytest.mark.parametrize(
    ("check", "changes", "message"),
    [pytest.param(*defect, id=f"{n}-{defect[0]}") for n, defect in enumerate(DEFECTS)],
)
def test_a_defect_is_found_by_its_check_alone(tmp_path, own_cache, check, changes, message):
    own_cache.mkdir(exist_ok=True)
    results = list(run_checks(write(tmp_path, changes)))
    failed = {result.name: result.message for result in results if result.status == "failed"}
    assert list(failed) == [f"check_{check}"]
    (text,) = failed.values()
    assert re.search(message, text), text


def test_every_check_has_a_defect():
    assert {check.__name__ for check in CHECKS} == {f"check_{name}" for name, *_ in DEFECTS}


@pytest.mark.parametrize(
    ("plugin", "check"),
    [
        ("changes_settings", "check_global_state"),
        ("edits_forget", "check_inputs_untouched"),
        ("exits", "check_unlearns"),
        ("looks_for_golds", "check_stays_blind"),
        ("patches_metric", "check_global_state"),
        ("raises_in_unlearn", "check_unlearns"),
        ("returns_nan", "check_returned_model"),
        ("returns_none", "check_returned_model"),
    ],
)
def test_bad_plugins_are_found_out(plugin, check, monkeypatch):
    for owner, name in ((metrics, "score"), (metrics, "floor"), (loop, "predict")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # `patches_metric` begins at import
    results = {result.name: result for result in run_checks(f"{BAD_PLUGINS / plugin}.py:Bad")}
    assert results[check].status == "failed"
    # what cannot be judged is not called a failure
    is_judged = plugin not in ("exits", "raises_in_unlearn", "returns_nan", "returns_none")
    assert (results["check_same_seed"].status == "unreached") != is_judged or (
        plugin == "looks_for_golds"  # raises when it finds any
    )


NOOP = {"problem.fine_tune": "0 and problem.fine_tune"}
REASON = {"check_changes_weights": "does nothing"}


def test_an_expected_failure_has_a_reason_and_must_fail(tmp_path):
    reference = write(tmp_path, NOOP)
    with pytest.raises(CheckFailure, match="check_changes_weights: the returned"):
        check_method(reference)
    check_method(reference, REASON)
    results = {result.name: result for result in run_checks(reference, REASON)}
    assert results["check_changes_weights"].status == "expected"
    assert results["check_changes_weights"].message == "does nothing"
    with pytest.raises(CheckFailure, match="passes, though expected to fail"):
        check_method(reference, REASON | {"check_access": "cannot"})
    with pytest.raises(ValueError, match="no check 'check_acess'; did you mean 'check_access'"):
        check_method(reference, {"check_acess": "cannot"})
    with pytest.raises(ValueError, match="needs a reason"):
        check_method(reference, {"check_access": " "})


def test_a_class_can_say_what_to_expect(tmp_path):
    line = f"    expected_failures: ClassVar[dict[str, str]] = {REASON}\n"
    lr = "    lr: Annotated"
    check_method(write(tmp_path, NOOP | {lr: line + lr}))


def test_an_instance_is_checked_with_its_parameters(tmp_path):
    method = load_method(write(tmp_path, {})).cls
    check_method(method(lr=0.02))
    with pytest.raises(CheckFailure, match="Diverged"):
        check_method(method(lr=1e30))
