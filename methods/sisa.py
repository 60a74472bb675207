"""SISA: "Machine Unlearning" (S&P 2021, arXiv:1912.03817), by sharded and isolated training.

The original is an ensemble whose members have learned one shard of D each and have met nothing
else. So members whose shards hold no sample of D_f stay as they are, and the others are retrained.
What is returned is distributed as a gold is: it is exact unlearning.

Slices, from whose checkpoints a member need not begin anew, are not here: a training keeps none.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from mubench import Problem


@dataclass(frozen=True, kw_only=True)
class SISA:
    """Retrain the members whose shards hold a sample of D_f (arXiv:1912.03817)."""

    requires: ClassVar[frozenset[str]] = frozenset({"forget", "retain", "shards"})

    def unlearn(self, problem: Problem) -> nn.Module:
        """Returns M_o with the touched members trained anew on what is left of their shards."""
        retain, model = problem.retain, problem.original
        shard_N = problem.shard_of(retain)
        members = problem.members(model)
        fresh = problem.members(problem.fresh_network())
        for number in sorted(set(problem.shard_of(problem.forget).tolist())):
            members[number].load_state_dict(fresh[number].state_dict())
            problem.train_like_original(members[number], retain[shard_N == number])
        return model
