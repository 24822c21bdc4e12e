"""Results and counters as points, and their three ways out: remote write, OTLP metrics and `/metrics`."""
