"""Erase and restart: how TMU and its controls remove what M_o knows of D_f, before any marks.

Under its own schedule, squeezed into a few epochs of D_r, the original forgets nearly all of D_f
and comes as near to a gold as another gold is. Where D_f is spoiled first, it comes nearer.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from mubench import Problem, Samples, Search

from ._visits import beside_retain, once_at_most


@dataclass(frozen=True, kw_only=True)
class Restart:
    """Spoil D_f in M_o with wrong labels, then train it with D_r as if it were new."""

    erase: Annotated[bool, Search(choices=(True, False))] = True  # whether D_f is spoiled first
    erase_accuracy: Annotated[float, Interval(ge=0, le=1), Search(0, 0.6)] = 0.3  # on D_f, that is
    # spoiled enough
    erase_visits: Annotated[int, Ge(1)] = 10  # most that each sample of D_f is met for that
    erase_retain: Annotated[float, Interval(gt=0, le=1)] = 0.1  # share of D_r that is replayed
    # meanwhile; no less than there are visits
    erase_lr: Annotated[float, Gt(0), Search(3e-3, 1e-1, log=True)] = 0.02  # step size of SGD
    epochs: Annotated[int, Ge(0), Search(0, 3)] | None = None  # of the original's schedule,
    # squeezed; None: 0.2 of the original's epochs, at least one; 0: no restart
    peak: Annotated[float, Gt(0), Search(0.3, 5, log=True)] = 1.0  # of the original's schedule: its
    # rates are multiplied by it

    def begin(self, problem: Problem) -> tuple[nn.Module, Tensor]:
        """Erases and restarts.

        Returns:
            A model to revise, and logits on D_f, (N, K): the restarted model's, as it has as good
            as never seen D_f; M_o's if nothing is restarted.
        """
        erased = self.erased(problem)
        restarted = self.restarted(problem, erased)
        told_by = problem.original if restarted is erased else restarted
        return restarted, problem.logits(told_by, problem.forget)

    def erased(self, problem: Problem) -> nn.Module:
        """Returns M_o as it is, or a copy that has D_f wrong."""
        if not self.erase:
            return problem.original
        model, forget = problem.copy(problem.original), problem.forget
        samples, _ = beside_retain(
            problem,
            Samples(forget.images, problem.wrong_labels(forget.labels)),
            visits=self.erase_visits,
            epochs=1,
            retain_share=self.erase_retain,
        )
        problem.fine_tune(
            model,
            samples,
            epochs=1,
            lr=self.erase_lr,
            weight_decay=5e-4,
            after_step=once_at_most(problem, model, forget, self.erase_accuracy),
        )
        return model

    def restarted(self, problem: Problem, model: nn.Module) -> nn.Module:
        """Returns the model as it is, or a copy that was trained on with D_r."""
        epochs = problem.schedule_share(self.epochs, 0.2)
        if not epochs:
            return model
        restarted = problem.copy(model)
        problem.train_like_original(restarted, problem.retain, epochs=epochs, peak=self.peak)
        return restarted


RESTART = Restart()  # the default of all that use it
OFF = {"erase": False, "epochs": 0}  # settings: M_o as it is
