"""OTLP metrics: points to requests (`encode`), requests to a receiver over gRPC (`send`)."""
