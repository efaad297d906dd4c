"""What the mark `unit` forbids is forbidden: tests that pytest itself runs, each with one part."""

import pytest

pytest_plugins = ["pytester"]

USES = {
    "a child": "import subprocess; subprocess.run(['true'])",
    "a fork": "import os; os.fork() or os._exit(0)",
    "a shell": "import os; os.system('true')",
    "a socket": "import socket; socket.socket()",
    "a name": "import socket; socket.getaddrinfo('localhost', 80)",
    "a database": "import psycopg; psycopg.connect('postgresql://127.0.0.1:9/none')",
    "a part, and says nothing": """
    import contextlib, subprocess
    with contextlib.suppress(BaseException):
        subprocess.run(['true'])""",
    "a part in a thread": """
    import threading, subprocess
    started = threading.Thread(target=subprocess.run, args=(['true'],))
    started.start()
    started.join()""",
}


def run(pytester: pytest.Pytester, mark: str, text: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nmarkers = unit")
    pytester.makepyfile(f"import pytest\n\n{mark}\ndef test_it():\n    {text}\n")
    return pytester.runpytest_inprocess(
        "-p", "tests.fix_unit", "-p", "no:randomly", "-W", "ignore", "--import-mode=importlib"
    )


@pytest.mark.parametrize("text", USES.values(), ids=USES)
def test_a_unit_test_that_uses_a_part_fails(pytester: pytest.Pytester, text: str) -> None:
    done = run(pytester, "@pytest.mark.unit", text)

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*a unit test needs no part*"])


@pytest.mark.parametrize("text", ["import os; os.system('true')", "import socket; socket.socket()"])
def test_another_test_may(pytester: pytest.Pytester, text: str) -> None:
    run(pytester, "", text).assert_outcomes(passed=1)


def test_a_unit_test_may_read_and_write_files(pytester: pytest.Pytester) -> None:
    text = "open('f', 'w').close(); import pathlib; assert pathlib.Path('f').exists()"
    run(pytester, "@pytest.mark.unit", text).assert_outcomes(passed=1)
