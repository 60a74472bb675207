"""Help and lists import no torch."""

import subprocess
import sys


def test_help_imports_no_torch():
    code = (
        "import sys; from mubench.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    )
    code += "assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_list_imports_no_torch():
    code = "import sys; from mubench.cli import main\n"
    code += "for what in ('methods', 'tasks'):\n"
    code += "    try: main(['list', what])\n    except SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules and 'mubench_methods' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "finetune" in done.stdout
    assert "cifar10-subset@1" in done.stdout
