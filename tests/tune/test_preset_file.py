"""Preset files: what is written is what is read."""

import pytest

from mubench._util.errors import UserError
from mubench.method.presets import choose
from mubench.tune.preset_file import preset_toml


def test_what_is_written_is_what_is_read(tmp_path):
    settings = {
        "lr": 1e-05,
        "mode": 'a"b',
        "on": True,
        "inner": {"depth": 3, "more": {"x": [1, 2]}},
    }
    file = tmp_path / "tuned.toml"
    text = preset_toml("mine", settings, {"epochs_equivalent": 3.5, "problems": ["twin a"]})
    file.write_text(text)
    choice = choose(str(file), {})
    assert (choice.base, choice.made_for, choice.tuning_epochs) == (settings, "mine", 3.5)


def test_what_has_no_form_in_toml_is_refused():
    with pytest.raises(UserError, match="None has no form"):
        preset_toml("mine", {"epochs": None}, {})
