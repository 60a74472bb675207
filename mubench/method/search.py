"""Where a parameter's best value is looked for, as its method declares it.

lr: Annotated[float, Gt(0), Search(1e-4, 1e-1, log=True)] = 0.01
loss: Annotated[Literal["ce", "kl"], Search(choices=("ce", "kl"))] = "ce"
"""

from dataclasses import dataclass
from typing import Any

from mubench._util.errors import UserError


@dataclass(frozen=True)
class Search:
    """Where `mubench tune` looks for a parameter's best value: a range, or some choices."""

    low: float | None = None
    """Least value."""
    high: float | None = None
    """Greatest value."""
    log: bool = False
    """True if values are drawn evenly in their logarithm."""
    step: float | None = None
    """Distance of neighbouring values. None: any value of the range."""
    choices: tuple[Any, ...] = ()
    """The values, instead of a range."""

    def __post_init__(self) -> None:
        if complaint := self._complaint():
            raise UserError(f"{self!r}: {complaint}")

    def __str__(self) -> str:
        """The search as `mubench show` prints it, such as `0.0001 to 0.1, log`."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        step = f", step {self.step:g}" if self.step is not None else ""
        return f"{self.low:g} to {self.high:g}{', log' * self.log}{step}"

    def _complaint(self) -> str | None:
        """What is wrong with the range, or None."""
        bounds = (self.low, self.high, self.step)
        if self.choices:
            if bounds != (None, None, None) or self.log:
                return "give a range or choices, not both"
            return "choices need at least two values" if len(self.choices) == 1 else None
        if self.low is None or self.high is None:
            return "give low and high, or choices"
        if not self.low < self.high:
            return "low must be below high"
        if self.log and not self.low > 0:
            return "a logarithmic range needs low above zero"
        if self.step is not None and (self.log or not 0 < self.step <= self.high - self.low):
            return "step must be above zero, within the range, and without log"
        return None
