"""What no section of deploy.yml can mean: each refusal with its words, and the values beside it."""

from collections.abc import Callable

import pytest

from pgwindlass.config.duration import Duration
from pgwindlass.config.sections import (
    LONGEST_TIMEOUT,
    BackupsConfig,
    LockConfig,
    MigrationsConfig,
    SigningConfig,
    SupervisorRestart,
)
from pgwindlass.secret import OptionalSecret

pytestmark = pytest.mark.unit
KEY = OptionalSecret("a private key")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: SigningConfig(signers=""),
            "signers is empty; expected a file, such as .github/backup-signers",
        ),
        (
            lambda: SigningConfig(signers="s", key=KEY, key_file="k"),
            "key and key_file are both set; expected one of them",
        ),
        (
            lambda: LockConfig(statement_timeout=Duration(0)),
            "statement_timeout must be above 0, and 24d at most: the server's limit",
        ),
        (
            lambda: LockConfig(concurrently=Duration(LONGEST_TIMEOUT + 1)),
            "concurrently must be above 0, and 24d at most: the server's limit",
        ),
        (
            lambda: SupervisorRestart(program=""),
            "program is empty; expected a name, such as api or api:*",
        ),
        (
            lambda: BackupsConfig(to="file:///b", sandbox="required", throwaway=KEY),
            "sandbox: required is for a server of our own, and throwaway names another",
        ),
        (
            lambda: MigrationsConfig(engine="alembic", environment=("DATABASE_URL",)),
            "environment: DATABASE_URL is url_variable, which has no other value",
        ),
        (
            lambda: MigrationsConfig(
                engine="alembic", environment=("SHOP_URL",), url_variable="SHOP_URL"
            ),
            "environment: SHOP_URL is url_variable, which has no other value",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError) as caught:  # its words are compared whole
        make()

    assert str(caught.value) == words


@pytest.mark.parametrize(
    "make",
    [
        lambda: SigningConfig(signers="s"),
        lambda: SigningConfig(signers="s", key=KEY),
        lambda: SigningConfig(signers="s", key_file="k"),
        lambda: SigningConfig(signers="s", key=OptionalSecret(" \n"), key_file="k"),
        lambda: LockConfig(timeout=(Duration(0.1),), statement_timeout=Duration(0.5)),
        lambda: LockConfig(statement_timeout=Duration(LONGEST_TIMEOUT)),
        lambda: BackupsConfig(to="file:///b", sandbox="required"),
        lambda: BackupsConfig(to="file:///b", throwaway=KEY),
        lambda: MigrationsConfig(
            engine="alembic", environment=("DATABASE_URL",), url_variable="SHOP_URL"
        ),
    ],
)
def test_what_is_beside_it_is_taken(make: Callable[[], object]) -> None:
    assert make() is not None
