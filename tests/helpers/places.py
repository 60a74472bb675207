"""Where the checkout is, and what lies in it for tests."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/data"
BAD_PLUGINS = DATA / "bad_plugins"
PLUGIN = DATA / "plugin"  # a stranger's method as a real package
