"""The service's worker as a WSGI application, to be run by other servers than its own."""

from servicio import worker
from servicio.board import Board
from servicio.settings import Settings

app = worker.start(Settings.from_environment(), Board(1), 0)
