"""Hostile and broken methods, and what becomes of each."""

from dataclasses import dataclass
from pathlib import Path

MARK = "mubench_hostile"
"""In the name of everything that these methods try to leave behind."""

TEMPLATE = """
import ctypes, gc, os, random, resource, signal, socket, sys, threading, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
{at_import}
@dataclass(frozen=True, kw_only=True)
class Hostile:
    requires: ClassVar[frozenset[str]] = frozenset({{"forget"}})
    place: str = "."
    def __post_init__(self):
        {at_init}
    def unlearn(self, problem):
        {body}
        return problem.original
"""


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """A method as text, and what becomes of it in a process of its own and in the harness's."""

    name: str
    body: str = "pass"
    at_import: str = ""
    at_init: str = "pass"
    status: str = "ok"
    """With namespaces, as the next four."""
    error: str = ""
    """Part of the record's error."""
    flags: tuple[str, ...] = ("no-op",)
    """Of a success; those of a failure are in `left`."""
    left: tuple[str, ...] = ()
    least_seconds: float = 0.0
    here: str | None = None
    """Status in the harness's own process, if another; `not closed` where that would be harmed."""

    def write(self, folder: Path) -> str:
        """Writes the method to a file; returns how to name it."""
        body = "\n        ".join(self.body.splitlines())
        text = TEMPLATE.format(at_import=self.at_import, at_init=self.at_init, body=body)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name.replace('-', '_')}.py"
        path.write_text(text)
        return f"{path}:Hostile"


NOT_CLOSED = "not closed"
COUNTS = """from mubench.method.meter import SampleCount
counts = [one for one in gc.get_objects() if type(one) is SampleCount]
assert counts
"""

LOOK_AND_LEAVE = f"""
libc = ctypes.CDLL(None, use_errno=True)
places = [Path(folder, "{MARK}") for folder in ("/tmp", "/var/tmp", "/dev/shm")]
found = [str(place) for place in places if place.exists()]
if libc.shmget(0x6d7562, 0, 0) != -1:
    found.append("shared memory")
if libc.syscall(249, b"user", b"{MARK}", None, -4) > 0:
    found.append("a key")
if found:
    raise RuntimeError("found " + ", ".join(found))
for place in places:
    place.write_text("for the next run")
assert libc.shmget(0x6d7562, 4096, 0o1600) != -1, os.strerror(ctypes.get_errno())
libc.syscall(248, b"user", b"{MARK}", b"x", 1, -4)
"""

WRITE_EVERYWHERE = f"""
import pwd, sysconfig
home = pwd.getpwuid(os.getuid()).pw_dir
for folder in (home, self.place, sysconfig.get_path("purelib"), str(Path(__file__).parent),
               os.path.dirname(torch.__file__), "/"):
    try:
        Path(folder, "{MARK}").write_text("for the next run")
    except OSError:
        continue
    raise RuntimeError("wrote into " + folder)
"""

WAIT_FOR_INPUTS = """
def wait():
    while not any(type(thing).__name__ == "Problem" for thing in gc.get_objects()):
        time.sleep(0.01)
    done.set()
done = threading.Event()
threading.Thread(target=wait, daemon=True).start()
time.sleep(1)
if done.is_set() or any(type(x).__name__ == "MethodInputs" for x in gc.get_objects()):
    raise RuntimeError("the inputs were there at import")
"""

BAD_TEXT = """
class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")
"""

JUNK_STATE = """
class Junk(nn.Module):
    def state_dict(self, *_, **__):
        return {"weight": "none", 3: self}
"""

HOSTILE = [
    Hostile(name="changes-folder", body='os.chdir("/")'),
    Hostile(
        name="removes-folder",
        body="""
folder = os.path.join(os.getcwd(), "inner")
os.mkdir(folder)
os.chdir(folder)
os.rmdir(folder)""",
    ),
    Hostile(name="gradients-off", body="torch.set_grad_enabled(False)"),
    Hostile(name="default-dtype", body="torch.set_default_dtype(torch.float64)"),
    Hostile(name="default-device", body='torch.set_default_device("meta")'),
    Hostile(name="inference-mode", body="torch.inference_mode().__enter__()"),
    Hostile(name="environment", body="os.environ.clear()"),
    Hostile(
        name="closes-streams",
        body="""
sys.stdout.close()
sys.stderr.close()
os.close(1)
os.close(2)""",
    ),
    Hostile(name="replaces-streams", body="sys.stdout = sys.stderr = None"),
    Hostile(
        name="patches-torch",
        body="""
nn.Module.__call__ = lambda *_: torch.zeros(1)
F.cross_entropy = torch.optim.SGD.step = torch.argmax = lambda *_, **__: None
torch.no_grad = None""",
    ),
    Hostile(name="patches-clock", body="time.perf_counter = time.monotonic = lambda: 0.0"),
    Hostile(
        name="patches-harness",
        body="""
from mubench.method import problem as module
from mubench.training import loop
module.Meter.watch = lambda *_: None
loop.fit = loop.predict = None""",
    ),
    Hostile(
        name="hooks-on-all",
        body="""
nn.modules.module.register_module_forward_hook(lambda module, given, out: out * 0)""",
    ),
    Hostile(
        name="changes-recipe",
        body="""
for part in (problem.recipe, problem._architecture, problem._pipeline):
    for name in list(vars(part)):
        object.__setattr__(part, name, None)""",
    ),
    Hostile(
        name="changes-inputs",
        body="""
problem.forget.images.zero_()
problem.forget.labels.zero_()
for value in problem.original.state_dict().values():
    value += 0""",
    ),
    Hostile(name="low-recursion", body="sys.setrecursionlimit(80)"),
    Hostile(
        name="alarm",
        body="""
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGALRM, lambda *_: os._exit(9))
signal.setitimer(signal.ITIMER_REAL, 5)""",
    ),
    Hostile(
        name="raises-base",
        body='raise BaseException("all of it")',
        status="error",
        error="BaseException: all of it",
    ),
    Hostile(
        name="raises-interrupt",
        body="raise KeyboardInterrupt",
        status="error",
        error="KeyboardInterrupt",
    ),
    Hostile(
        name="raises-without-text",
        at_import=BAD_TEXT,
        body="raise Mute",
        status="error",
        error="Mute: (its text cannot be told: ValueError)",
    ),
    Hostile(
        name="raises-escapes",
        status="error",
        error=r"RuntimeError: red\x07 end",
        body=r'raise RuntimeError("\x1b[31mred\x07\x1b]0;title\x07 end\x1b[2J")',
    ),
    Hostile(name="prints-escapes", body=r'print("\x1b[2J\x1b]0;title\x07 half\rwhole\u202e")'),
    Hostile(
        name="recursion",
        at_import="def down():\n    down()",
        body="down()",
        status="error",
        error="RecursionError",
    ),
    Hostile(
        name="negative-counts",
        body=COUNTS + "for one in counts:\n    one.forward = -5",
    ),
    Hostile(
        name="huge-counts",
        body=COUNTS + "for one in counts:\n    one.backward = 10**400",
    ),
    Hostile(
        name="nan-counts",
        body=COUNTS + 'for one in counts:\n    one.forward = float("nan")',
    ),
    Hostile(
        name="worded-counts",
        body=COUNTS + 'for one in counts:\n    one.forward = "many"',
    ),
    Hostile(
        name="no-counts",
        body=COUNTS + "for one in counts:\n    del one.forward\ndel SampleCount.forward",
    ),
    Hostile(
        name="junk-reports",
        body='problem.reports["easy"] = "all"',
        status="error",
        error="TypeError",
    ),
    Hostile(
        name="foreign-report",
        body='problem.reports["mine"] = np.zeros(2)',
        status="error",
        error="bad report 'mine'",
    ),
    Hostile(name="junk-state", at_import=JUNK_STATE, body="return Junk()", status="error"),
    Hostile(name="meta-weights", body='return problem.original.to("meta")', status="error"),
    Hostile(
        name="complex-weights",
        body="problem.original.to(torch.complex64)",
        status="error",
        error="complex",
    ),
    Hostile(
        name="open-files",
        body="""
problem.__class__.files = []
try:
    while len(problem.files) < 20_000:
        problem.files.append(open(os.devnull))
except OSError:
    pass""",
    ),
    Hostile(
        name="exits-hard",
        body="os._exit(0)",
        status="error",
        error="ended its process with exit code 0",
        flags=(),
        here=NOT_CLOSED,
    ),
    Hostile(
        name="overflows-stack",
        status="error",
        error="killed by SIGSEGV",
        here=NOT_CLOSED,
        body="ctypes.string_at(0)",
    ),
    Hostile(
        name="memory",
        body="torch.ones(10**10)",
        status="error",
        error="out of memory",
        here=NOT_CLOSED,
    ),
    Hostile(
        name="fork-bomb",
        status="error",
        error="more than 500 processes",
        here=NOT_CLOSED,
        left=("left-processes",),
        body="""
for _ in range(600):
    os.posix_spawn("/bin/sleep", ["sleep", "987"], {})
time.sleep(60)""",
    ),
    Hostile(
        name="leaves-daemon",
        left=("left-processes",),
        here=NOT_CLOSED,
        body="""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(987)
    os._exit(0)
os.wait()""",
    ),
    Hostile(name="kills-parent", body="os.kill(os.getppid(), signal.SIGKILL)", here=NOT_CLOSED),
    Hostile(
        name="speaks-on-the-channel",
        status="error",
        here=NOT_CLOSED,
        error="the harness's own channel",
        body="""
for number in range(3, 30):
    try:
        socket.socket(fileno=os.dup(number)).sendall(b"[" * 10**5 + b"\\n")
    except OSError:
        pass""",
    ),
    Hostile(
        name="sleeping-threads",
        here=NOT_CLOSED,
        body="""
for daemon in (True, False):
    threading.Thread(target=time.sleep, args=(600,), daemon=daemon).start()""",
    ),
    Hostile(name="works-at-import", at_import="time.sleep(1)", least_seconds=1, here=NOT_CLOSED),
    Hostile(name="works-at-init", at_init="time.sleep(1)", least_seconds=1, here=NOT_CLOSED),
    Hostile(name="waits-at-import", at_import=WAIT_FOR_INPUTS, least_seconds=1, here=NOT_CLOSED),
    Hostile(name="leaves-for-the-next", body=LOOK_AND_LEAVE, here=NOT_CLOSED),
    Hostile(name="writes-everywhere", body=WRITE_EVERYWHERE, here=NOT_CLOSED),
    Hostile(
        name="fills-the-disk",
        status="error",
        error="No space left",
        here=NOT_CLOSED,
        body=f"""
with open("/var/tmp/{MARK}", "wb") as file:
    for _ in range(40):
        file.write(bytes(10**8))""",
    ),
    Hostile(
        name="calls-home",
        here=NOT_CLOSED,
        body="""
for address in (("127.0.0.1", int(self.place)), ("8.8.8.8", 53)):
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        continue
    raise RuntimeError("there is a network")""",
    ),
]
"""Methods with the faults of users' reports and of attacks."""
