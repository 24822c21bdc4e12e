"""The least an OTLP server can do: `python -m benchmarks.ingest.acknowledging PORT` takes raw bytes and says OK.

Where the Collector sends to, and what small requests to the service are compared with.
"""

import asyncio
import sys
from typing import Any

import grpc

from benchmarks.ingest.load import EXPORT

_OPTIONS = [("grpc.max_receive_message_length", 1 << 27), ("grpc.so_reuseport", 0)]


async def _export(_: bytes, __: Any) -> bytes:
    return b""


async def _serve(port: int) -> None:
    server = grpc.aio.server(options=_OPTIONS)
    _, service, method = EXPORT.split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(_export)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
