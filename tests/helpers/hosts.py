"""Hosts that share a cache: process trees with equal process ids, on a disk whose locks do nothing.

Patched is what would tell processes of one machine apart: the process id, the name of the host, and
the locks of the operating system.
"""

import hashlib
import multiprocessing
import os
import random
import signal
import time
from contextlib import ExitStack, contextmanager, nullcontext
from unittest.mock import patch

from mubench._util.cache import Store

KEYS = 20


@contextmanager
def as_if_on(host):
    """Makes this process one of another host."""
    with ExitStack() as stack:
        stack.enter_context(patch("os.getpid", lambda: 7))
        stack.enter_context(patch("socket.gethostname", lambda: host))
        for name in ("fcntl.flock", "fcntl.lockf"):
            stack.enter_context(patch(name, lambda *_: None))
        yield


def payload(rng):
    """Two files that belong together, and the provenance that says which."""
    one = rng.randbytes(rng.randrange(1, 20_000))
    two = hashlib.sha256(one).hexdigest()
    return {"one": one, "two": two.encode()}, {"two": two}


def write_and_read(root, host, seed, count, how):
    """Writes and reads random entries; returns how many reads gave an entry, and what was said."""
    rng, store, said, seen = random.Random(seed), Store(root), [], 0
    with as_if_on(host), patch("mubench._util.cache.say", said.append):
        for _ in range(count):
            key = f"k{rng.randrange(KEYS)}"
            if how == "remove" and rng.random() < 0.3:
                store.remove("models", key)
            store.write("models", key, *payload(rng), replace=how == "replace")
            entry = store.read("models", f"k{rng.randrange(KEYS)}")
            if entry is not None:
                seen += 1
                two = hashlib.sha256(entry.content("one")).hexdigest()
                assert entry.content("two").decode() == entry.provenance["two"] == two
    return seen, said


def make_once(root, host):
    """Makes an entry unless it is there; returns whether this host has made it."""
    made = []

    def make():
        time.sleep(0.5)
        made.append(host)
        return {"a": b"x"}, {}

    with as_if_on(host):
        assert Store(root).made("models", "k", make).content("a") == b"x"
    return bool(made)


def die_with_a_lock(root, host, lease_seconds):
    """Has a process die that holds the lock of an entry; `host` None: a process of this host."""
    process = multiprocessing.get_context("spawn").Process(
        target=_take_and_die, args=(root, host, lease_seconds)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def _take_and_die(root, host, lease_seconds):
    number = os.getpid()
    with (
        as_if_on(host) if host else nullcontext(),
        patch("mubench._util.cache.LEASE_SECONDS", lease_seconds),
        Store(root).lock("models", "k"),
    ):
        os.kill(number, signal.SIGKILL)


def _answer(function, arguments, answers):
    try:
        answers.put(function(*arguments))
    except BaseException as error:
        answers.put(f"{type(error).__name__}: {error}")


def at_once(function, arguments):
    """What a function returns or raises for each tuple of arguments, each in a process."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=_answer, args=(function, a, answers)) for a in arguments]
    for process in processes:
        process.start()
    found = [answers.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    return found
