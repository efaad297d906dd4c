"""What to do where a new connection is refused, by what libpq or the server said. Pure.

Source of the words: libpq's fe-connect.c and fe-secure-openssl.c, which nobody translates in the
libpq of psycopg's wheels, and OpenSSL's own; of the server's refusals the SQLSTATE is asked first,
because its words come in its language.
"""

from collections.abc import Mapping

AUTHORITY = (
    "name the file of the server's certificate authority: sslrootcert=FILE in the URL "
    "(PGSSLROOTCERT); managed servers publish theirs"
)
CLIENT = (
    "check the client's certificate and key: sslcert and sslkey in the URL; the key's file is "
    "readable by its owner alone (chmod 600)"
)
PASSWORD = "check the URL's user and password"  # noqa: S105  # no password
# What is said, in parts that must all be there, and what to do; the first that fits.
SAID: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("server does not support SSL",),
        "switch TLS on at the server (ssl=on), or write sslmode=prefer into the URL",
    ),
    (("does not match host name",), "name the server in the URL as its certificate does"),
    (("root certificate file",), AUTHORITY),
    (("certificate verify failed",), AUTHORITY),
    (("certificate has expired",), "renew the server's certificate"),
    (("tlsv1 alert unknown ca",), CLIENT),
    (("tlsv13 alert certificate required",), CLIENT),
    (("certificate authentication failed",), CLIENT),
    (("requires a valid client certificate",), CLIENT),
    (("certificate file",), CLIENT),
    (("private key file",), CLIENT),
    (("bad decrypt",), CLIENT),
    (
        ("no pg_hba.conf entry", "no encryption"),
        "write sslmode=require into the URL, or add a line of type host to pg_hba.conf",
    ),
    (("no pg_hba.conf entry",), "add a line for this host, user and database to pg_hba.conf"),
    (("no password supplied",), "write the password into the URL, or into PGPASSFILE's file"),
    (
        ("failed to resolve host",),
        "check the host in the URL, and that this machine's DNS knows it",
    ),
    (
        ("Connection refused",),
        "check the URL's host and port, and that the server is up and listens there",
    ),
    (
        ("invalid response to SSL negotiation",),
        "check the URL's host and port: what listens there is no PostgreSQL",
    ),
    (
        ("timeout expired",),
        "check the URL's host and port, and that no firewall is between here and the server",
    ),
    (
        ("No such file or directory", "socket"),
        "check the socket's directory (host) and the port, and that the server is up",
    ),
)
CONNECTIONS = "end sessions, or raise max_connections on the server; then start again"
OTHERWISE = "check the URL's host, port, user and password, and that it is up"


def remedy(message: str, sqlstate: str | None, parameters: Mapping[str, str]) -> str:
    """Return what to do about a connection that was refused.

    Args:
        message: what was said, on one line.
        sqlstate: the server's code; None: it said nothing, or this libpq does not pass it on.
        parameters: libpq's; the password is not looked at.

    """
    database, user = (_quoted(parameters.get(key, "")) for key in ("dbname", "user"))
    if "CONNECT" in message:  # the privilege: in every language of the server's
        return f"grant connect on database {database} to {user}"
    if sqlstate == "3D000" or f"database {database} does not exist" in message:
        return f"mend the database's name in the URL, or create it: create database {database}"
    if sqlstate == "53300":
        return CONNECTIONS
    if sqlstate == "28P01":
        return PASSWORD
    for parts, text in SAID:
        if all(part in message for part in parts):
            return text
    if "authentication failed" in message or f"role {user} does not exist" in message:
        return PASSWORD
    return OTHERWISE


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
