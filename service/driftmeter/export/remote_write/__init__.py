"""Remote write 1.0: points to requests (`encode`), requests to a receiver (`send`)."""
