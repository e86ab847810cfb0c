"""`advertise_url` where it names what only the machine knows: a variable, or a network interface.

    written                     becomes
    --------------------------  --------------------------------------------------
    http://$POD_IP:8000         http://10.1.2.3:8000, with the variable's value
    http://${POD_IP}:$PORT      the same
    http://{eth0}:8000          the same, with the interface's address

An address of IPv6 gets its brackets, whether they were written or not.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from mooring.errors import SettingsError

_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_NAMED: Final = re.compile(
    rf"\[?(?:\$(?P<bare>{_VARIABLE})|\$\{{(?P<braced>{_VARIABLE})\}}|\{{(?P<interface>[^{{}}]+)\}})\]?"
)

_SIOCGIFADDR: Final = 0xC0206921 if sys.platform == "darwin" else 0x8915
"""Asks for the address of an interface (netdevice(7)); each system has a number of its own for it."""
_IFREQ_BYTES: Final = 256
_ADDRESS_AT: Final = slice(20, 24)

_IPV6_OF_LINUX: Final = Path("/proc/net/if_inet6")
"""A line for each address: first the address, last the name of its interface."""


def with_sample(url: str) -> str:
    """The URL with something in the place of each name, to judge the form of the rest."""
    return _NAMED.sub("1", url)


def looked_up(url: str) -> str:
    """The URL with what its names stand for, here and now.

    Raises:
        SettingsError: one of them stands for nothing.
    """

    def value(match: re.Match[str]) -> str:
        variable, interface = match["bare"] or match["braced"], match["interface"]
        try:
            return _bracketed(_address_of(interface) if interface else _value_of(variable))
        except LookupError as error:
            raise SettingsError("advertise_url", url, str(error.args[0])) from None

    return _NAMED.sub(value, url)


def _value_of(variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise LookupError(f"the variable {variable} is not set")
    return value


def _bracketed(value: str) -> str:
    try:
        return f"[{value}]" if ipaddress.ip_address(value).version == 6 else value
    except ValueError:
        return value


def _address_of(interface: str) -> str:
    """Its address of IPv4; of IPv6 where it has none of the other, and not one that only its own link knows."""
    names = [name for _, name in socket.if_nameindex()]
    if interface not in names:
        raise LookupError(f"there is no interface {interface} on this machine; it has {', '.join(names)}")
    found = _ipv4(interface) or _ipv6(interface)
    if found is None:
        raise LookupError(f"the interface {interface} has no address that another machine could use")
    return found


def _ipv4(interface: str) -> str | None:
    import fcntl  # which Windows does not have; nothing else here needs it

    asked = struct.pack(f"{_IFREQ_BYTES}s", interface.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        return socket.inet_ntoa(fcntl.ioctl(probe, _SIOCGIFADDR, asked)[_ADDRESS_AT])
    return None


def _ipv6(interface: str) -> str | None:
    with suppress(OSError):
        for line in _IPV6_OF_LINUX.read_text().splitlines():
            digits, *_, name = line.split()
            address = ipaddress.IPv6Address(bytes.fromhex(digits))
            if name == interface and not address.is_link_local:
                return str(address)
    return None
