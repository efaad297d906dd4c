"""bubblewrap, in which a throwaway server runs and a project's Python reads what nobody approved.

What each of the two may see is its own; how it is kept apart from the rest is the same.
"""

import os
import shutil

PROGRAM = "bwrap"
SWITCH = "WINDLASS_SANDBOX"  # of the machine, not of deploy.yml: that is as unapproved as the rest


def missing_reason() -> str:
    """Return why there is no sandbox here; empty: there may be one, and the first start shows."""
    if os.environ.get(SWITCH) == "off":
        return f"{SWITCH}=off"
    if shutil.which(PROGRAM) is None:
        return f"bubblewrap ({PROGRAM}) is not installed"
    return ""


def isolated(*, network: bool, kept: tuple[str, ...]) -> list[str]:
    """Return the command up to the mounts: processes, users and mostly the network of its own.

    Args:
        network: whether it has the machine's.
        kept: capabilities that it needs where we are root.

    """
    argv = [PROGRAM, "--die-with-parent", "--unshare-ipc", "--unshare-pid", "--unshare-uts"]
    argv += ["--unshare-cgroup-try", "--cap-drop", "ALL"]
    argv += [] if network else ["--unshare-net"]
    if os.geteuid() != 0:
        return [*argv, "--unshare-user"]
    # As root it needs no user namespace, which many kernels refuse.
    return [*argv, *(word for name in kept for word in ("--cap-add", name))]
