"""Where a restore may go: the environment's own server, and those that `deploy.yml` names. Pure."""

from collections.abc import Iterable, Mapping

from ..config.address import DEFAULT_PORT, Address, address_of, read_address
from ..errors import ConfigError, Refused

# Variables of libpq that would lead a connection to another server than its URL names.
REDIRECTING = ("PGHOSTADDR", "PGSERVICE")


def find_address(
    parameters: Mapping[str, str],
    *,
    named: Iterable[str],
    own: Mapping[str, str],
    variables: Mapping[str, str],
) -> Address:
    """Return the server of a URL to restore into.

    Args:
        parameters: the URL's, as libpq reads them.
        named: the addresses that `deploy.yml` names.
        own: the parameters of the environment's own database, whose server needs no name.
        variables: the process's environment, which libpq reads too.

    Raises:
        ConfigError: the URL, or a variable, leaves open which server it is.
        Refused: it is none of these servers.

    """
    _require_one(parameters, variables)
    address = address_of(parameters["host"], parameters.get("port") or DEFAULT_PORT)
    ours = "host" in own and "hostaddr" not in own and "service" not in own
    if ours and address == address_of(own["host"], own.get("port") or DEFAULT_PORT):
        return address
    allowed = tuple(map(read_address, named))
    if address not in allowed:
        names = f"restore_to names {', '.join(map(str, allowed))}" if allowed else "none is named"
        raise Refused(
            f"{address} is not a server that deploy.yml lets a restore go to; {names}",
            next_step=f"name it under the environment: restore_to: [{address}]; or restore into a "
            "new database of its own server: --into NAME",
        )
    return address


def _require_one(parameters: Mapping[str, str], variables: Mapping[str, str]) -> None:
    for name in REDIRECTING:
        if variables.get(name):
            raise ConfigError(
                f"{name} is set, and would lead the restore to another server than --into names",
                next_step=f"unset {name}",
            )
    for key in ("hostaddr", "service"):
        if key in parameters:
            raise ConfigError(
                f"--into has {key}, so that it does not say by itself which server it means",
                next_step=f"leave {key} out, and write the host: postgresql://USER@HOST/DATABASE",
            )
    host, port = parameters.get("host", ""), parameters.get("port", "")
    if not host or "," in host or "," in port:
        raise ConfigError(
            "--into does not name one host" if host else "--into names no host",
            next_step="write one host: postgresql://USER@HOST:PORT/DATABASE",
        )
    database = parameters.get("dbname", "")
    if not database or "=" in database or "://" in database:
        raise ConfigError(
            "--into names no database",
            next_step="write it last: postgresql://USER@HOST:PORT/DATABASE",
        )
