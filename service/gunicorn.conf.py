"""The server's settings: one process with threads; a worker that hangs is replaced."""

import os

bind = f"0.0.0.0:{os.environ.get('PORT', '8080')}"
workers = int(os.environ.get("WORKERS", "1"))
worker_class = "gthread"
threads = int(os.environ.get("THREADS", "4"))
timeout = 30
graceful_timeout = 20
# the root file system is read-only
worker_tmp_dir = "/dev/shm"  # noqa: S108
control_socket_disable = True
accesslog = None
