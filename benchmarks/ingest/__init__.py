"""The whole service on real sockets, beside the real Collector and beside bare gRPC.

    load generator (a process) ──OTLP/gRPC──► `driftmeter serve` (a process) ──remote write──► a sink that discards
                               └─OTLP/gRPC──► the Collector (a process)      ──OTLP/gRPC────► a sink that acknowledges

What is measured is CPU time of the process in question, read from the system, per span that it acknowledged.
"""
