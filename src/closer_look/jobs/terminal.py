"""The terminal, which may be Snakemake's alone: its logger plugins draw over what jobs write there.

Then jobs send what they have to say to Snakemake's process, which logs it.
"""

import atexit
import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

ADDRESS = "CLOSER_LOOK_TERMINAL"
"""The environment variable that has the socket of Snakemake's process."""

LONGEST = 65536
"""Bytes of a message that are shown."""


def relay(show: Callable[[str], object]) -> None:
    """Give `show`, in a thread, what the jobs that this process starts from now on say."""
    if ADDRESS in os.environ:  # this is a job itself
        return
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    address = str(Path(folder.name, "socket"))
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        server.bind(address)
    except OSError:  # such as a path of more than a hundred bytes
        return
    os.environ[ADDRESS] = address
    Thread(target=_receive, args=(server, show), daemon=True).start()


def _receive(server: socket.socket, show: Callable[[str], object]) -> None:
    while True:
        show(server.recv(LONGEST).decode(errors="replace"))


def is_relayed() -> bool:
    """Tell whether Snakemake's process says what this job has to say."""
    return ADDRESS in os.environ


def say(message: str, terminal: int) -> None:
    """Say something by Snakemake's process or, if it does not listen, on an open terminal."""
    content = message.encode(errors="backslashreplace")
    with suppress(KeyError, OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(content, os.environ[ADDRESS])
        return
    os.write(terminal, content + b"\n")
