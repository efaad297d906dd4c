"""Which of our variables reach a child, by what the child is for. Pure.

A child never inherits our environment: it would hold the database's address, the store's keys
and the private key of the backups. What is not named here does not pass.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

# Where programs and certificates are, who we are, and in which language and time zone.
BASE = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LANGUAGE",
        "LC_*",
        "TZ",
        "TZDIR",
        "TMPDIR",
        "XDG_RUNTIME_DIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
        "DYLD_FALLBACK_LIBRARY_PATH",
    }
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
PROXIES = frozenset(name for both in _PROXIES for name in (both, both.lower()))
AGENT = frozenset({"SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY"})
# What libpq reads: a client must reach the server that our own sessions reach.
# https://www.postgresql.org/docs/current/libpq-envars.html
LIBPQ_NAMES = frozenset(
    {
        "PGHOST",
        "PGHOSTADDR",
        "PGPORT",
        "PGDATABASE",
        "PGUSER",
        "PGPASSWORD",
        "PGPASSFILE",
        "PGSERVICE",
        "PGSERVICEFILE",
        "PGSYSCONFDIR",
        "PGOPTIONS",
        "PGREQUIREAUTH",
        "PGCHANNELBINDING",
        "PGREQUIRESSL",
        "PGSSL*",
        "PGGSS*",
        "PGKRBSRVNAME",
        "PGREQUIREPEER",
        "PGTARGETSESSIONATTRS",
        "PGLOADBALANCEHOSTS",
        "PGMINPROTOCOLVERSION",
        "PGMAXPROTOCOLVERSION",
        "KRB5*",
    }
)


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a child is for.

    title: for people, as in "kubectl".
    names: of our variables that it gets; a name that ends in `*` is a beginning.
    """

    title: str
    names: frozenset[str]

    def named(self, names: Iterable[str]) -> "Purpose":
        """Return the same with further variables: those that deploy.yml names."""
        return replace(self, names=self.names | frozenset(names))


# What reads its arguments and its standard input: age, squawk, ps, pg_restore --list, --version.
TOOL = Purpose("a tool", BASE)
# A server on a copy runs what nobody approved: it gets nothing of ours, not even a home.
SERVER = Purpose("a throwaway server", frozenset())
# A service on a copy, before anybody approved it: a program's needs, and no home of ours.
SERVICE = Purpose("a service on a copy", frozenset({"PATH", "LANG", "LC_*", "TZ", "TZDIR"}))
LIBPQ = Purpose("a client of PostgreSQL", BASE | LIBPQ_NAMES)
GIT = Purpose("git", BASE | PROXIES | AGENT | {"GIT_*", "XDG_CONFIG_HOME"})
# git's credential helpers (gh, a script of the job's) read the token there.
GIT_REMOTE = Purpose(
    "git with a remote",
    GIT.names | {"GH_TOKEN", "GITHUB_TOKEN", "GH_HOST", "GH_CONFIG_DIR"},
)
SIGN = Purpose("ssh-keygen -Y sign", BASE | AGENT | {"SSH_SK_PROVIDER", "SSH_SK_HELPER"})
SYSTEMD = Purpose(
    "systemctl, also over ssh",
    BASE | AGENT | {"DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"},
)
DOCKER = Purpose(
    "docker and compose",
    BASE | PROXIES | AGENT | {"DOCKER_*", "COMPOSE_*", "CONTAINER_*", "XDG_CONFIG_HOME"},
)
# Its plugins for a cloud's clusters log in with the cloud's variables.
KUBECTL = Purpose(
    "kubectl",
    BASE
    | PROXIES
    | {
        "KUBECONFIG",
        "KUBERNETES_*",
        "KUBECTL_*",
        "KUBECACHEDIR",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "AWS_*",
        "GOOGLE_*",
        "CLOUDSDK_*",
        "USE_GKE_GCLOUD_AUTH_PLUGIN",
        "AZURE_*",
        "AAD_*",
    },
)
# Of deploy.yml: a restart's `environment` names what else it gets.
COMMAND = Purpose("a command of deploy.yml", BASE)
# The project's own Python, which runs what nobody approved: env.py, revisions.
PYTHON = Purpose("the project's Python", BASE | {"VIRTUAL_ENV", "PYTHON*"})


def passed(variables: Mapping[str, str], purpose: Purpose) -> dict[str, str]:
    """Return those of our variables that a child for this purpose gets.

    Of PATH only absolute directories are left: another one is looked for where we stand, which
    is a checkout of what nobody approved.
    """
    whole = {name for name in purpose.names if not name.endswith("*")}
    beginnings = tuple(name[:-1] for name in purpose.names if name.endswith("*"))
    environment = {
        name: value
        for name, value in variables.items()
        if name in whole or (beginnings and name.startswith(beginnings))
    }
    if "PATH" in environment:
        environment["PATH"] = os.pathsep.join(absolute(environment["PATH"]))
    return environment


def absolute(path: str) -> list[str]:
    """Return the absolute directories of a PATH, in its order."""
    return [part for part in path.split(os.pathsep) if part.startswith("/")]
