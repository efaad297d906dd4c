"""What to do about a refused connection."""

import pytest

from pgwindlass.database.remedies import AUTHORITY, CLIENT, CONNECTIONS, OTHERWISE, PASSWORD, remedy

pytestmark = pytest.mark.unit

DNS = "check the host in the URL, and that this machine's DNS knows it"
LISTENS = "check the URL's host and port, and that the server is up and listens there"
CREATE = 'mend the database\'s name in the URL, or create it: create database "sh""op"'


@pytest.mark.parametrize(
    ("message", "sqlstate", "expected"),
    [
        ("SSL error: certificate verify failed", None, AUTHORITY),
        ('root certificate file "/ca" does not exist', None, AUTHORITY),
        ('server certificate for "db" does not match host name "10.0.0.1"', None,
         "name the server in the URL as its certificate does"),
        ("server does not support SSL, but SSL was required", None,
         "switch TLS on at the server (ssl=on), or write sslmode=prefer into the URL"),
        ("SSL error: certificate has expired", None, "renew the server's certificate"),
        ("SSL error: tlsv1 alert unknown ca", None, CLIENT),
        ("SSL error: tlsv13 alert certificate required", None, CLIENT),
        ('certificate authentication failed for user "u"', None, CLIENT),
        ("FATAL: connection requires a valid client certificate", None, CLIENT),
        ('could not read certificate file "/c"', None, CLIENT),
        ('private key file "/k" has group or world access', None, CLIENT),
        ('could not load private key: bad decrypt', None, CLIENT),
        ('no pg_hba.conf entry for host "::1", user "u", database "d", no encryption', None,
         "write sslmode=require into the URL, or add a line of type host to pg_hba.conf"),
        ('no pg_hba.conf entry for host "::1", user "u", database "d", SSL encryption', None,
         "add a line for this host, user and database to pg_hba.conf"),
        ("fe_sendauth: no password supplied", None,
         "write the password into the URL, or into PGPASSFILE's file"),
        ("failed to resolve host 'db': Name or service not known", None, DNS),
        ('server at "::1", port 1 failed: Connection refused', None, LISTENS),
        ("received invalid response to SSL negotiation: H", None,
         "check the URL's host and port: what listens there is no PostgreSQL"),
        ("connection timeout expired", None,
         "check the URL's host and port, and that no firewall is between here and the server"),
        ('on socket "/run/.s" failed: No such file or directory', None,
         "check the socket's directory (host) and the port, and that the server is up"),
        ('password authentication failed for user "u"', None, PASSWORD),
        ('role "u" does not exist', None, PASSWORD),
        ("das Passwort ist falsch", "28P01", PASSWORD),
        ("zu viele Verbindungen", "53300", CONNECTIONS),
        ('database "sh""op" does not exist', None, CREATE),
        ("Datenbank gibt es nicht", "3D000", CREATE),
        ("User does not have CONNECT privilege.", "42501",
         'grant connect on database "sh""op" to "u"'),
        ("something else", None, OTHERWISE),
        ('database "other" does not exist', None, OTHERWISE),
    ],
)  # fmt: skip
def test_what_was_said_decides_what_to_do(
    message: str, sqlstate: str | None, expected: str
) -> None:
    assert remedy(message, sqlstate, {"dbname": 'sh"op', "user": "u"}) == expected
