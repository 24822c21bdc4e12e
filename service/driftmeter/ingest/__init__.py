"""Network to request bytes: servers, admission, answers."""
