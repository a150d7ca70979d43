"""Answers everything at once: what the load generator measures when there is nothing to measure."""

from granian.rsgi import HTTPProtocol, Scope


async def app(scope: Scope, protocol: HTTPProtocol) -> None:
    """As RSGI has it."""
    protocol.response_bytes(200, [], b"{}")
