"""What an environment names that may be a file."""

import pytest

from pgwindlass.plan.named_files import candidates, named_words
from tests.unit.examples import settings

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("argument", "word"),
    [
        ("./restart.sh", "./restart.sh"),
        ("--file=deploy/api.yml", "deploy/api.yml"),
        ("-fdeploy/api.yml", "deploy/api.yml"),
        ("@body.json", "body.json"),
        ("--data=@body.json", "body.json"),
        ("cd /srv && ./restart.sh --now", "./restart.sh"),
        ("(./restart.sh;true)", "./restart.sh;true"),
        ("sh 'my restart.sh'", "my restart.sh"),
        ("sh 'restart.sh", "restart.sh"),
    ],
)
def test_a_command_s_words_are_looked_at_in_every_form(argument: str, word: str) -> None:
    assert word in candidates([argument])


def test_what_a_reader_prints_is_no_file_of_a_command() -> None:
    def words(*identity: str) -> list[tuple[str, str]]:
        restart = {"with": "command", "run": ["./r.sh"], "identity": list(identity)}
        return list(named_words(settings(restart=restart, signing=None)))

    assert words("/bin/cat", "api.pid") == [
        ("restart.run", "./r.sh"),
        ("restart.identity", "/bin/cat"),
    ]
    assert ("restart.identity", "id.sh") in words("sh", "id.sh")
    assert words() == [("restart.run", "./r.sh")]


def test_the_files_of_other_sections_are_named() -> None:
    found = named_words(
        settings(
            restart={"with": "compose", "service": "api"},
            approval={"from": "ssh", "signers": "approvers", "revoked": "gone"},
            signing={"signers": "backup-signers"},
            shared={"rehearsal": {"mask": "mask.sql"}},
        )
    )

    assert found == (
        ("restart.file", "docker-compose.yml"),
        ("approval.signers", "approvers"),
        ("approval.revoked", "gone"),
        ("signing.signers", "backup-signers"),
        ("rehearsal.mask", "mask.sql"),
    )
    supervisor = {"with": "supervisor", "program": "api", "config": "s.conf"}
    assert named_words(settings(restart=supervisor, signing=None)) == (
        ("restart.config", "s.conf"),
    )
    assert named_words(settings(restart=None, smoke=None, signing=None, name="dev")) == ()
