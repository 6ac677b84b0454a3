"""One turn, from message to recorded answer."""
