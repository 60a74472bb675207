"""What Linux offers to wall a process in. Other systems have the memory limit only.

Namespaces need no privileges where the kernel lets users have their own, which some distributions
and most containers forbid: then `enter_namespaces` says why, and the caller goes on without. What
a run may write to is in `mubench.run.isolation.private_files`.
"""

import contextlib
import ctypes
import os
import resource
import signal
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

IS_LINUX = sys.platform == "linux"

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 0x4000, 0x40000
MS_BIND = 4096
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
CAPABILITY_VERSION_3 = 0x20080522
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1

SOCKETS_OF_USERS = "/run/user"
"""Where a user's own services listen; one of them starts processes for whoever asks."""


def _call(name: str, *arguments: object) -> None:
    """Calls a function of libc that returns 0 on success.

    Raises:
        OSError: it does not.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _prctl(option: int, value: int) -> None:
    _call("prctl", *map(ctypes.c_ulong, (option, value, 0, 0, 0)))


def die_with_parent() -> None:
    """Has the kernel kill this process when the parent is gone."""
    if IS_LINUX:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Makes this process the parent of descendants whose own parent has died."""
    if IS_LINUX:
        _prctl(PR_SET_CHILD_SUBREAPER, 1)


def enter_namespaces() -> str | None:
    """Gives this process its own users, mounts and network; its next child will be process 1.

    The network has nothing in it, not even a loopback device that is up.

    Returns:
        None, or why that could not be.
    """
    if not IS_LINUX:
        return f"{sys.platform} has no namespaces"
    try:
        unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET)
    except OSError as error:
        return f"this system gives no namespaces ({error.strerror})"
    return None


def unshare(namespaces: int) -> None:
    """Moves this process into namespaces of its own, and into one of users to own them.

    Raises:
        OSError: the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", CLONE_NEWUSER | namespaces)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def hide(folders: Iterable[str]) -> str | None:
    """Lays an empty folder over each folder, and a /proc of this namespace over the old one.

    Returns:
        None, or why that could not be.
    """
    try:
        keep_mounts_private()
        for folder in folders:
            mount("none", folder, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
        if Path(SOCKETS_OF_USERS).is_dir():
            mount("none", SOCKETS_OF_USERS, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as error:
        return f"this system mounts nothing for us ({error.strerror})"
    return None


def keep_mounts_private() -> None:
    """Keeps what this process mounts from now on to its own namespace."""
    mount(None, "/", None, MS_REC | MS_PRIVATE)


def mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    """Mounts a file system, as the system call does.

    Args:
        source: what to mount.
        target: the folder to mount on.
        kind: of the file system, such as `tmpfs`.
        flags: of the system call.
        options: of the file system.

    Raises:
        OSError: the system does not allow it.
    """
    source_bytes, kind_bytes, option_bytes = (
        text.encode() if text else None for text in (source, kind, options)
    )
    _call("mount", source_bytes, target.encode(), kind_bytes, ctypes.c_ulong(flags), option_bytes)


def allow_reading_only() -> None:
    """Lets this process read every file system that is mounted now, and write to none.

    Raises:
        OSError: the system does not allow it, or is older than Linux 5.12.
    """
    _set_attributes("/", AT_RECURSIVE, to_set=MOUNT_ATTR_RDONLY)


def allow_writing_of_itself() -> None:
    """Lets processes write to their own files in /proc, and to no others there.

    CUDA does not start without. What in /proc is the system's stays read-only, because the system
    takes root of a namespace for root there.

    Raises:
        OSError: the system does not allow it.
    """
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() or entry.is_symlink():  # a process's
            continue
        mode = entry.stat().st_mode
        if stat.S_ISDIR(mode) or mode & 0o222:
            mount(str(entry), str(entry), None, MS_BIND)  # read-only, as /proc is now
    _set_attributes("/proc", 0, to_clear=MOUNT_ATTR_RDONLY)


def _set_attributes(mounted: str, flags: int, *, to_set: int = 0, to_clear: int = 0) -> None:
    attributes = (ctypes.c_uint64 * 4)(to_set, to_clear)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    number = ctypes.c_long(SYS_MOUNT_SETATTR)
    _call("syscall", number, AT_FDCWD, mounted.encode(), ctypes.c_uint(flags), attributes, size)


def drop_privileges() -> None:
    """Gives up every capability of this process for good, so that no mount can be undone."""
    if not IS_LINUX:
        return
    with contextlib.suppress(OSError):  # ends at the last capability that the kernel knows
        for capability in range(64):
            _prctl(PR_CAPBSET_DROP, capability)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)())


def limit_memory(num_bytes: int) -> None:
    """Limits the bytes of data that this process, and each of its children, may have in memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Not RLIMIT_AS: CUDA reserves address space by the terabyte, and the libraries take gigabytes.
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, num_bytes))


def limit_processes(count: int) -> None:
    """Limits the processes and threads of this process's namespace of users.

    The system does not hold root to that.
    """
    resource.setrlimit(resource.RLIMIT_NPROC, (count, count))


def count_processes() -> int:
    """How many processes there are in this namespace."""
    return sum(entry.name.isdecimal() for entry in Path("/proc").iterdir())


def physical_memory_bytes() -> int:
    """Bytes of memory that this machine, or the process's control group, has."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        group = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return total
    return min(total, group)


def kill_descendants() -> None:
    """Kills every descendant of this process, which must adopt orphans or be process 1."""
    if os.getpid() == 1:
        os.kill(-1, signal.SIGKILL)  # all of this namespace but process 1
        return
    for pid in _descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone in the meantime
            # "pid (name) state parent ...", and the name can hold anything
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]
