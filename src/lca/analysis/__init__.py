"""Frames in, frames out: small tidy tables from the logs, which every figure is drawn from."""


class DataError(Exception):
    """The data do not hold what is asked for; the message says what is missing, in one line."""
