"""Conformance checks: one small function per rule that every unlearning method must keep.

A failed check says what to change. A method's own tests can run all checks, like the estimator
checks of scikit-learn:

    from mubench.checks import parametrize_with_checks

    @parametrize_with_checks([Mine()])
    def test_conforms(check):
        check()

`mubench check METHOD` runs the same checks. A method that cannot keep a rule states the reason on
its class:

    expected_failures: ClassVar[dict[str, str]] = {"check_changes_weights": "does nothing"}

A check that passes although its failure is expected counts as failed.
"""

import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import TypeAdapter
from torch import nn

from mubench._util.errors import UserError
from mubench._util.messages import did_you_mean
from mubench.method.access import ACCESS
from mubench.method.discovery import MethodClass, load_method
from mubench.method.parameters import configure, describe_parameters, resolved_parameters
from mubench.method.presets import Choice, instance_of, presets_of
from mubench.method.problem import Method

from .trial_run import Trial, TrialResult


class CheckFailure(AssertionError):  # noqa: N818 - a verdict
    """A method fails a check. The message says what to change."""


class Unreached(Exception):  # noqa: N818 - not the method's fault
    """A check has nothing to judge, because the first run gave no model with finite weights."""


def check_documented(trial: Trial) -> None:
    """The class has a docstring and every parameter has a comment. `mubench show` prints both."""
    cls = type(trial.method)
    documentation = inspect.getdoc(cls) or ""
    # Python gives a dataclass without a docstring its signature as docstring.
    if not documentation or documentation.startswith(f"{cls.__name__}("):
        raise CheckFailure(f"{cls.__name__} has no docstring: say in one line what the method does")
    bare = [p.name for p in describe_parameters(cls) if not p.meaning]
    if bare:
        raise CheckFailure(
            f"no comment behind {', '.join(bare)}: say behind each field what it means"
        )


def check_parameters(trial: Trial) -> None:
    """All parameters have defaults within their own bounds, and survive JSON."""
    cls = type(trial.method)
    try:
        default = cls()
    except TypeError as error:
        raise CheckFailure(f"{error}: give every parameter a default") from None
    found = MethodClass.of(cls.__name__, cls)
    try:
        presets = [configure(found, settings) for settings in presets_of(cls).values()]
    except UserError as error:
        raise CheckFailure(f"a preset does not hold: {error}") from None
    for instance in (default, trial.method, *presets):
        try:
            values = json.loads(json.dumps(resolved_parameters(instance), allow_nan=False))
            back = TypeAdapter(cls).validate_python(values)
        except ValueError as error:  # of json or of pydantic, whose errors are ValueErrors
            text = " ".join(str(error).split())
            raise CheckFailure(f"the parameters do not survive JSON: {text}") from None
        if back != instance:
            raise CheckFailure(
                f"{instance} comes back from JSON as {back}: use numbers, strings, booleans, None, "
                "Literal, tuples of these, or frozen dataclasses"
            )


def check_unlearns(trial: Trial) -> None:
    """`unlearn` returns without an exception."""
    if error := trial.run().error:
        raise CheckFailure(f"unlearn() raises {error}")


def check_access(trial: Trial) -> None:
    """`unlearn` touches only what `requires` names."""
    refused = trial.run().refused
    if refused:
        known = [name for name in dict.fromkeys(refused) if name in ACCESS]
        raise CheckFailure(
            f"unlearn() touches problem.{', problem.'.join(dict.fromkeys(refused))}, which "
            "`requires` does not name: "
            + (f"add {', '.join(map(repr, known))} to it, or do without" if known else "do without")
        )


def check_returned_model(trial: Trial) -> None:
    """The returned weights have the original's names, shapes and dtypes, and are finite."""
    observed = trial.run()
    if observed.error:
        raise Unreached("unlearn() raises")
    if not isinstance(observed.returned, nn.Module):
        kind = type(observed.returned).__name__
        raise CheckFailure(f"unlearn() returns {kind}: it must return the unlearned nn.Module")
    expected, returned = trial.stage.original.state_dict(), observed.weights
    if expected.keys() != returned.keys():
        odd = sorted(expected.keys() ^ returned.keys())[0]
        verb = "has no" if odd in expected else "has an additional"
        raise CheckFailure(
            f"the returned model {verb} {odd}: return problem.original, a problem.copy() or a "
            "problem.fresh_network(), unwrapped and with all its layers"
        )
    for name, value in expected.items():
        other = returned[name]
        if (other.shape, other.dtype) != (value.shape, value.dtype):
            raise CheckFailure(
                f"the returned {name} is {other.dtype} {tuple(other.shape)}, the original's "
                f"{value.dtype} {tuple(value.shape)}: convert it back before returning"
            )
    if infinite := _infinite(observed):
        raise CheckFailure(f"the returned {infinite} is infinite or NaN: {BOUND}")


def check_left_clean(trial: Trial) -> None:
    """The returned model has no hooks, frozen parameters or replaced functions."""
    model = _returned(trial).returned
    assert isinstance(model, nn.Module)
    for name, layer in model.named_modules():
        label = name or "the model"
        if any(value for key, value in vars(layer).items() if key.endswith("_hooks")):
            raise CheckFailure(f"a hook is left on {label}: remove() it before returning")
        if replaced := [key for key in ("forward", "__call__") if key in vars(layer)]:
            raise CheckFailure(
                f"{replaced[0]} of {label} is replaced: only weights are scored, so put the "
                "replacement's effect into the weights"
            )
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            raise CheckFailure(f"{name} is left frozen: set requires_grad_(True) again")


def check_changes_weights(trial: Trial) -> None:
    """The returned parameters differ from the original's."""
    observed = _returned(trial)
    assert isinstance(observed.returned, nn.Module)
    before = trial.stage.original.state_dict()
    names = [name for name, _ in observed.returned.named_parameters()]
    if all(name in before and torch.equal(before[name], observed.weights[name]) for name in names):
        raise CheckFailure(
            "the returned parameters are the original's: a method that does nothing on purpose "
            "says so in its `expected_failures`"
        )


def check_same_seed(trial: Trial) -> None:
    """Two runs on the same problem with the same seed give the same weights, bit for bit."""
    first = _returned(trial).weights
    second = _check_case(trial, "the same run once more", repeat=1).weights
    for name, value in first.items():
        if not torch.equal(value, second[name]):
            raise CheckFailure(
                f"two runs with one seed differ in {name}: draw all random numbers from "
                "problem.generator(purpose), and keep nothing from one run to the next"
            )


def check_other_seed(trial: Trial) -> None:
    """`unlearn` works with another seed."""
    _check_case(trial, "another seed", seed=1)


def check_one_sample(trial: Trial) -> None:
    """`unlearn` can forget a single sample."""
    _check_case(trial, "a forget set of one sample", BATCH_NORM, case="one")


def check_whole_class(trial: Trial) -> None:
    """`unlearn` can forget a whole class, so that no sample of that class is retained."""
    _check_case(
        trial,
        "a forget set that is a whole class",
        ": no sample of that class is in retain",
        case="class",
    )


def check_ragged_batches(trial: Trial) -> None:
    """`unlearn` works where whole batches leave one sample over."""
    _check_case(trial, "a forget set of two batches and one sample", BATCH_NORM, case="ragged")


def check_inputs_untouched(trial: Trial) -> None:
    """`unlearn` leaves the given tensors unchanged."""
    if edited := _returned(trial).edited:
        raise CheckFailure(
            f"unlearn() changes problem.{', problem.'.join(edited)} in place: work on a clone()"
        )


def check_global_state(trial: Trial) -> None:
    """`unlearn` leaves the global state of the process unchanged."""
    if changed := trial.run().seen.changed:
        raise CheckFailure(
            f"unlearn() leaves {', '.join(changed)} changed: draw random numbers from "
            "problem.generator(purpose), and restore what you set (try: ... finally: ...)"
        )


def check_prints_nothing(trial: Trial) -> None:
    """`unlearn` writes nothing to stdout or stderr."""
    if printed := trial.run().seen.printed.strip():
        first = printed.splitlines()[0][:60]
        raise CheckFailure(f"unlearn() prints {first!r}: print nothing, as a sweep has many runs")


def check_writes_nothing(trial: Trial) -> None:
    """`unlearn` makes, changes and removes no file or folder."""
    if written := trial.run().seen.written:
        raise CheckFailure(f"unlearn() writes {written[0]}: keep all data in memory")


def check_needs_no_network(trial: Trial) -> None:
    """`unlearn` tries no network connection."""
    if connected := trial.run().seen.connected:
        raise CheckFailure(
            f"unlearn() connects to {connected[0]}: ship all that the method needs in its package"
        )


def check_starts_no_process(trial: Trial) -> None:
    """`unlearn` starts no process. Otherwise part of its work would not be timed."""
    if spawned := trial.run().seen.spawned:
        raise CheckFailure(
            f"unlearn() starts a process ({spawned[0]}), whose cost is not measured: do all "
            "work in the process that calls unlearn()"
        )


def check_stays_blind(trial: Trial) -> None:
    """`unlearn` does not search the process or the cache for golds and scored data."""
    if spied := trial.run().seen.spied:
        raise CheckFailure(
            f"unlearn() looks into the harness ({spied[0]}), which holds the golds: use only what "
            "`problem` gives"
        )


CHECKS: tuple[Callable[[Trial], None], ...] = (
    check_documented,
    check_parameters,
    check_unlearns,
    check_access,
    check_returned_model,
    check_left_clean,
    check_changes_weights,
    check_same_seed,
    check_other_seed,
    check_one_sample,
    check_whole_class,
    check_ragged_batches,
    check_inputs_untouched,
    check_global_state,
    check_prints_nothing,
    check_writes_nothing,
    check_needs_no_network,
    check_starts_no_process,
    check_stays_blind,
)
"""All checks, in the order in which they run and are printed."""

BOUND = "bound the loss, or lower the step size"
BATCH_NORM = (
    ": batch norm cannot be trained on a batch of one sample; problem.fine_tune() and "
    "problem.batches() never make one"
)


def _returned(trial: Trial) -> TrialResult:
    """The result of the first run, which must have returned a module with finite weights.

    Raises:
        Unreached: the first run returned no such module.
    """
    observed = trial.run()
    if observed.error:
        raise Unreached("unlearn() raises")
    if not isinstance(observed.returned, nn.Module) or _infinite(observed):
        raise Unreached("unlearn() returns no model that can be judged")
    return observed


def _check_case(trial: Trial, what: str, advice: str = "", **run: Any) -> TrialResult:
    """Makes a run that differs from the first one in one respect.

    Args:
        trial: the runs of the method.
        what: the difference, in words; the message begins with it.
        advice: end of the message if `unlearn` raises.
        run: the arguments of `Trial.run`.

    Raises:
        CheckFailure: `unlearn` raises, or returns weights that are not finite.
        Unreached: the first run returned no module with finite weights.
    """
    _returned(trial)
    observed = trial.run(**run)
    if observed.error:
        raise CheckFailure(f"{what} makes unlearn() raise {observed.error}{advice}")
    if name := _infinite(observed):
        raise CheckFailure(f"{what} makes the returned {name} infinite or NaN: {BOUND}")
    return observed


def _infinite(observed: TrialResult) -> str | None:
    """The name of the first returned tensor that is not finite; None if all are finite."""
    tensors = observed.weights.items()
    return next((name for name, value in tensors if not value.isfinite().all()), None)


@dataclass(frozen=True)
class CheckResult:
    """The verdict of one check on one method.

    | status | meaning | message |
    | --- | --- | --- |
    | `ok` | the method passes | empty |
    | `failed` | the method fails, or passes although a failure is expected | what to change |
    | `expected` | the method fails as expected | the stated reason |
    | `unreached` | there was nothing to judge | why |
    """

    name: str  # the name of the check, such as `check_access`
    status: Literal["ok", "failed", "expected", "unreached"]
    message: str = ""


def run_checks(
    method: Method | str,
    expected_failures: Mapping[str, str] | None = None,
    choice: Choice | None = None,
) -> Iterator[CheckResult]:
    """Runs all checks, also after a failure.

    Args:
        method: an instance, or a reference as in `mubench run --method`.
        expected_failures: name of a check to the reason why it fails, in addition to those that
            the method's class states.
        choice: the preset and the parameters of a method that is given by a reference.

    Yields:
        One result per check, in the order of `CHECKS`.

    Raises:
        UserError: there is no such method, or an expected failure names no check or has no reason.
    """
    subject = _Subject(method, expected_failures or {}, choice)
    for check in CHECKS:
        yield subject.run(check)


def check_method(method: Method | str, expected_failures: Mapping[str, str] | None = None) -> None:
    """Runs all checks and raises if any of them fails unexpectedly.

    Args:
        method: an instance, or a reference as in `mubench run --method`.
        expected_failures: name of a check to the reason why it fails, in addition to those that
            the method's class states.

    Raises:
        CheckFailure: at least one check failed. The message has one line per failure.
        UserError: there is no such method, or an expected failure names no check or has no reason.
    """
    failures = [r for r in run_checks(method, expected_failures) if r.status == "failed"]
    if failures:
        raise CheckFailure("\n".join(f"{result.name}: {result.message}" for result in failures))


def parametrize_with_checks(methods: Sequence[Method | str]) -> Any:
    """A pytest decorator that makes one test per method and check.

    The test function takes a parameter `check` and calls it as `check()`.

    Args:
        methods: instances, or references as in `mubench run --method`. A reference is imported only
            when its tests run.
    """
    import pytest

    cases = []
    for method in methods:
        # All checks of a method share one subject, so that each trial run is made only once.
        subject = functools.cache(functools.partial(_Subject, method, {}))
        label = method if isinstance(method, str) else type(method).__name__
        for check in CHECKS:
            test = functools.partial(_run_in_pytest, subject, check)
            cases.append(pytest.param(test, id=f"{label}-{check.__name__}"))
    return pytest.mark.parametrize("check", cases)


def _run_in_pytest(subject: "Callable[[], _Subject]", check: Callable[[Trial], None]) -> None:
    import pytest

    result = subject().run(check)
    match result.status:
        case "failed":
            pytest.fail(result.message, pytrace=False)
        case "expected":
            pytest.xfail(result.message)
        case "unreached":
            pytest.skip(result.message)


class _Subject:
    """A method under test: its trial runs and its expected failures."""

    def __init__(
        self,
        method: Method | str,
        expected_failures: Mapping[str, str],
        choice: Choice | None = None,
    ):
        if isinstance(method, str):
            method = instance_of(load_method(method), choice or Choice())
        names = [check.__name__ for check in CHECKS]
        self.trial = Trial(method)
        self.expected = {**getattr(method, "expected_failures", {}), **expected_failures}
        for name, reason in self.expected.items():
            if name not in names:
                raise UserError(f"there is no check {name!r}{did_you_mean(name, names)}")
            if not reason.strip():
                raise UserError(f"the expected failure of {name} needs a reason")

    def run(self, check: Callable[[Trial], None]) -> CheckResult:
        name = check.__name__
        reason = self.expected.get(name)
        try:
            check(self.trial)
        except CheckFailure as failure:
            if reason:
                return CheckResult(name, "expected", reason)
            return CheckResult(name, "failed", str(failure))
        except Unreached as why:
            return CheckResult(name, "unreached", str(why))
        if reason:
            message = f"passes, though expected to fail ({reason}): remove the expected failure"
            return CheckResult(name, "failed", message)
        return CheckResult(name, "ok")
