"""The parameters of a method that are searched, and how Optuna draws them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mubench._util.errors import UserError
from mubench.method.discovery import MethodClass
from mubench.method.parameters import (
    Search,
    configure,
    describe_parameters,
    resolved_parameters,
)
from mubench.record.schema import dotted

if TYPE_CHECKING:
    from optuna import Trial

HINT = "lr: Annotated[float, Gt(0), Search(1e-4, 1e-1, log=True)] = 0.01"


@dataclass(frozen=True)
class Searched:
    """One parameter that is searched."""

    name: str
    """Dotted for a field of a nested dataclass."""
    search: Search
    """Where its best value is looked for."""
    is_integer: bool
    """True if only whole numbers will do."""
    default: Any
    """The value of the first trial."""

    @property
    def holds_default(self) -> bool:
        """True if the default is one of the values that can be drawn."""
        search, value = self.search, self.default
        if search.choices:
            return any(value == one and type(value) is type(one) for one in search.choices)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        assert search.low is not None and search.high is not None
        if not search.low <= value <= search.high:
            return False
        steps = (value - search.low) / search.step if search.step else 0.0
        return abs(steps - round(steps)) < 1e-9

    def draw(self, trial: "Trial") -> Any:
        """A value for a trial."""
        search = self.search
        if search.choices:
            return trial.suggest_categorical(self.name, search.choices)
        assert search.low is not None and search.high is not None
        if self.is_integer:
            low, high, step = int(search.low), int(search.high), int(search.step or 1)
            return trial.suggest_int(self.name, low, high, step=step, log=search.log)
        return trial.suggest_float(
            self.name, search.low, search.high, step=search.step, log=search.log
        )


def space_of(method: MethodClass, fixed: Mapping[str, Any]) -> list[Searched]:
    """The parameters of a method that are searched.

    Args:
        method: the method.
        fixed: settings that no trial changes.

    Raises:
        UserError: no parameter says where to look for its best value.
    """
    values = dotted(resolved_parameters(configure(method, fixed)))
    space = [
        Searched(one.name, one.search, one.type.startswith("int"), values.get(one.name))
        for one in describe_parameters(method.cls)
        if one.search and one.name not in dotted(fixed)
    ]
    if not space:
        raise UserError(
            f"{method.name} does not say where to look for the best values: write behind a "
            f"parameter's type where, as in\n  {HINT}\nwith `from mubench import Search`"
        )
    return space


def draw(space: Iterable[Searched], trial: "Trial") -> dict[str, Any]:
    """Settings for a trial, nested as `configure` takes them."""
    return nested({one.name: one.draw(trial) for one in space})


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name as nested settings."""
    settings: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, last = name.split(".")
        place = settings
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return settings


def defaults(space: Sequence[Searched]) -> dict[str, Any]:
    """The defaults that can be drawn, by dotted name."""
    return {one.name: one.default for one in space if one.holds_default}
