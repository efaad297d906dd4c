"""A user whom the machine's list does not have, as in a container that runs with `--user 54321`."""

import io
import os
import pickle
import pwd
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from pgwindlass.approvals import ssh
from pgwindlass.approvals.terminal import TerminalSource
from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import SshApproval, TerminalApproval
from pgwindlass.errors import WindlassError
from pgwindlass.model import Plan, Signed
from tests.kit import new_key, parts
from tests.unit import examples

NUMBER = 54321
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")


def as_nameless(do: Callable[[], object]) -> object:
    """Return what a function returns, or the words of its error, in a process of such a user."""
    with pytest.raises(KeyError):
        pwd.getpwuid(NUMBER)
    back, there = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NUMBER)
            os.setuid(NUMBER)
            for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
                os.environ.pop(name, None)
            try:
                answer = do()
            except WindlassError as error:
                answer = parts(error)
            except Exception as error:  # noqa: BLE001  # told to the test
                answer = repr(error)
            os.write(there, pickle.dumps(answer))
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(back, "rb") as words:
        answer = pickle.loads(words.read())  # our own child's
    os.waitpid(pid, 0)
    return answer


def plan() -> Plan:
    return examples.plan(environment="production")


def test_who_types_at_a_terminal_is_named_by_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Tty("production\n"))
    monkeypatch.setattr(sys, "stderr", Tty())
    source = TerminalSource(TerminalApproval(expires=Duration(60)))

    names = as_nameless(lambda: [approval.approver for approval in source.find(plan())])

    assert names == [f"uid {NUMBER}"]


@pytest.mark.parametrize("how", ["sign", "verify"])
def test_ssh_keygen_does_not_run_for_it_and_that_is_what_is_said(how: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    public = new_key(key)
    for file in (key, key.with_suffix(".pub")):
        os.chown(file, NUMBER, NUMBER)
    (tmp_path / "signers").write_text(f"ann@example.com {public}")
    config = SshApproval(signers=str(tmp_path / "signers"), expires=Duration(60))

    def sign() -> tuple[Path, object]:
        now = datetime.now(UTC)
        return ssh.sign(plan(), config, directory=tmp_path, key=str(key), comment="", now=now)

    file, _ = sign()
    signed = msgspec.json.decode(file.read_bytes(), type=Signed)
    argv = ["ssh-keygen", "-Y", "verify", "-n", "windlass", "-s", "x", "-f", "x", "-I", "x"]

    def run() -> object:
        if how == "sign":
            return sign()
        return ssh._verifies(argv, signed)

    words = str(as_nameless(run))

    assert f"has none of number {NUMBER}" in words, words
    assert f"useradd --uid {NUMBER}" in words
