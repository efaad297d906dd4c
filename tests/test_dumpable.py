"""What other processes see of this one: the kernel's own answer."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, subprocess, sys
from pgwindlass.dumpable import close_to_others
close_to_others()
close_to_others()
sys.stdout.write(repr((
    open("/proc/self/environ", "rb").read().strip(b"\\0"),
    os.environ["OURS"],
    ctypes.CDLL(None).getenv and os.environ.get("PATH") is not None,
    ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    subprocess.run(["printenv", "OURS"], capture_output=True, text=True).stdout.strip(),
)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_variables_are_gone_from_where_the_kernel_put_them_and_still_ours() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"OURS": "a secret of ours", "PATH": "/usr/bin:/bin", "EMPTY": "", "É": "é"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stdout == repr((b"", "a secret of ours", True, 0, "a secret of ours"))
