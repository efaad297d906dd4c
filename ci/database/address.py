"""Where a database is reached, as one text: without user and password, the same however written.

Pure. It is what the connection was configured with, not what a name resolves to today: a standby
that takes over under the same names is the same target.
"""

from collections.abc import Mapping
from ipaddress import ip_address

PORT = "5432"
SOCKET = "local socket"  # libpq's own directory


def address_of(parameters: Mapping[str, str]) -> str:
    """Return HOST:PORT/DATABASE of libpq's parameters; of several hosts all, in their order."""
    hosts = parameters.get("host", "").split(",")
    numbers = parameters.get("hostaddr", "").split(",")
    ports = parameters.get("port", "").split(",")
    count = max(len(hosts), len(numbers))
    places = [
        _place(_at(hosts, index), _at(numbers, index), _at(ports, index)) for index in range(count)
    ]
    return f"{','.join(places)}/{parameters.get('dbname', '')}"


def normalised(written: str) -> str:
    """Return an address of deploy.yml as `address_of` writes it."""
    place, _, name = written.strip().rpartition("/")
    hosts, ports = [], []
    for each in place.split(","):
        host, _, port = each.rpartition(":") if not each.endswith("]") else (each, "", "")
        if not port.isdecimal():
            host, port = each, ""
        hosts.append(host.strip("[]"))
        ports.append(port)
    return address_of({"host": ",".join(hosts), "port": ",".join(ports), "dbname": name})


def _at(values: list[str], index: int) -> str:
    """Return the value for a host; a single one is for all of them."""
    return values[index] if index < len(values) else values[0] if len(values) == 1 else ""


def _place(host: str, number: str, port: str) -> str:
    name = host if host.startswith(("/", "@")) else _host(host)
    # hostaddr is where libpq goes, whatever the name says.
    through = f"={_host(number)}" if number and _host(number) != name else ""
    return f"{name or ('' if number else SOCKET)}{through}:{port or PORT}"


def _host(host: str) -> str:
    bare = host.strip().rstrip(".").lower()
    try:
        address = ip_address(bare)
    except ValueError:
        return bare
    return f"[{address}]" if address.version == 6 else str(address)
