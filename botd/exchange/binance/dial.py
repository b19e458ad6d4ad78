"""Reaches a WebSocket server: address, TLS, handshake; or says in one line why not.

Addresses come from the given resolver, or from the system. TLS is checked against the host of the url,
whatever address the resolver gave, so a test may put a server of its own behind the exchange's name.
It follows no redirects, tries once and keeps nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import picows

from botd.domain.errors import said
from botd.exchange.binance.stream_rules import StreamRules

LONGEST_FRAME = 4 * 1024 * 1024
"""bytes of one message"""
_REFUSING = frozenset({403, 418, 429, 451})
"""HTTP answers that another try soon makes worse"""

_socket_log = logging.getLogger("botd.exchange.socket")
_socket_log.setLevel(logging.WARNING)  # picows tells each connect and disconnect at INFO; so do we, in our words


class Resolver(Protocol):
    """Finds addresses of a host: aiohttp's own shape, so that REST and streams can share one."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> Sequence[Mapping[str, Any]]:
        """Return mappings with ``host`` (a numeric address), ``port`` and ``family``; OSError for none."""
        ...


class ConnectionFailed(ConnectionError):
    """A connection did not come up, or ended before it carried its streams.

    ``at_least_s`` is how long the server wants to be left alone, ``status`` the HTTP answer that said so (0: none did),
    ``told`` its headers that matter.
    """

    def __init__(
        self, message: str, at_least_s: float = 0.0, status: int = 0, told: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.at_least_s = at_least_s
        self.status = status
        self.told = told or {}


async def dial(
    url: str,
    listener: picows.WSListener,
    rules: StreamRules,
    ssl_context: ssl.SSLContext | None = None,
    resolver: Resolver | None = None,
) -> picows.WSTransport:
    """Return a transport whose frames go to ``listener``; ConnectionFailed within ``rules.open_s``."""
    maker = _SocketMaker(resolver or SystemResolver(), rules.open_s)
    try:
        async with asyncio.timeout(rules.open_s):
            transport, answering = await picows.ws_connect(
                lambda request, response: listener,
                url,
                ssl_context=ssl_context,
                socket_factory=maker.make,
                websocket_handshake_timeout=rules.open_s,
                enable_auto_pong=False,  # pongs count as messages: we send them
                disconnect_on_exception=False,  # a consumer's mistake is not the connection's end
                max_frame_size=LONGEST_FRAME,
                max_redirects=0,
                use_aiofastnet=False,  # no difference here, and TLS stays the interpreter's own
                logger_name=_socket_log,
            )
        if answering is None or transport.is_disconnected:
            raise ConnectionFailed("cut during the handshake")
    except TimeoutError:
        maker.give_up()
        raise ConnectionFailed(f"no answer within {rules.open_s:g} s") from None
    except picows.WSHandshakeError as error:
        raise _refusal(error, rules.longest_pause_s) from error
    except ConnectionFailed:
        raise
    except (OSError, picows.WSError, ValueError) as error:
        raise ConnectionFailed(said(error)) from error
    except asyncio.CancelledError:
        maker.give_up()
        raise
    return transport


class SystemResolver:
    """Asks the machine, as everybody does."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[dict[str, Any]]:
        """Return the addresses in the machine's order of preference."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        return [{"family": row[0], "host": row[4][0], "port": row[4][1]} for row in found]


class _SocketMaker:
    """Connects to the first address that answers; each gets its share of the time."""

    def __init__(self, resolver: Resolver, open_s: float) -> None:
        self._resolver = resolver
        self._open_s = open_s
        self._made: socket.socket | None = None

    async def make(self, url: Any) -> socket.socket:
        """Return a connected socket for a parsed url; OSError of the last address where none answers."""
        failure: OSError = socket.gaierror(f"{url.host} has no address")
        addresses = await self._resolver.resolve(url.host, url.port, socket.AF_UNSPEC)
        for address in addresses:
            found = socket.socket(address["family"], socket.SOCK_STREAM)
            found.setblocking(False)
            try:
                async with asyncio.timeout(self._open_s / (len(addresses) + 1)):
                    await asyncio.get_running_loop().sock_connect(found, (address["host"], address["port"]))
            except OSError as error:  # TimeoutError is one
                failure = error
                found.close()
            except BaseException:  # cancelled
                found.close()
                raise
            else:
                self._made = found
                return found
        raise failure

    def give_up(self) -> None:
        """Make the half-made transport on the socket end by itself."""
        if self._made is not None:
            with contextlib.suppress(OSError):
                self._made.shutdown(socket.SHUT_RDWR)


def _refusal(error: picows.WSHandshakeError, longest_s: float) -> ConnectionFailed:
    """Return why the handshake failed, and how long to stay away where the server wants no more tries."""
    answer = error.response
    if answer is None or answer.status not in _REFUSING:
        return ConnectionFailed(said(error))
    asked = answer.headers.get("Retry-After", "")
    told = {"Retry-After": asked} if asked.isdecimal() else {}
    return ConnectionFailed(said(error), max(longest_s, float(told.get("Retry-After", 0))), answer.status, told)
