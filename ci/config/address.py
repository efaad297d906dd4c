"""The address of one server, as `deploy.yml` names it. Pure."""

from dataclasses import dataclass

DEFAULT_PORT = "5432"


@dataclass(frozen=True, slots=True)
class Address:
    """A server, as a URL names it: nothing is looked up."""

    host: str  # lower case; a path: the directory of a socket, as it is
    port: str

    def __str__(self) -> str:
        """Return it as `deploy.yml` has it; an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"


def read_address(text: str) -> Address:
    """Return an address as `restore_to` has it: HOST or HOST:PORT; without a port it is 5432.

    Raises:
        ValueError: it is none, or stands for several.

    """
    host, port = text, DEFAULT_PORT
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or DEFAULT_PORT
        if not closing or (rest and not rest.startswith(":")):
            raise ValueError(f'"{text}" is no address; write [IPV6] or [IPV6]:PORT')
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or any(character in host for character in "*?,@ ") or not _is_port(port):
        raise ValueError(f'"{text}" is no address of one server; write HOST or HOST:PORT')
    return address_of(host, port)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def address_of(host: str, port: str) -> Address:
    """Return the address that a host and a port are: the case of a name says nothing."""
    return Address(host if host.startswith("/") else host.lower(), port.lstrip("0") or "0")
