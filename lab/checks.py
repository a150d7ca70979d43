"""Whether a part answers: each a question that the part itself answers, not a guess from its process."""

from __future__ import annotations

import contextlib
import socket

import requests

from lab import world
from lab.layout import Lab
from pipeline_tools.process import ProcessFailed

SHORT = 3.0


def answers(url: str, *accepted: int) -> bool:
    """Whether a server gives one of the status codes (200 if none is named)."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=SHORT).status_code in (accepted or (200,))
    return False


def _inside_answers(lab: Lab, url: str) -> bool:
    with contextlib.suppress(ProcessFailed):
        command = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=3)"
        world.inside(lab, "/usr/bin/python3", "-c", command, url, timeout=30)
        return True
    return False


def etcd(lab: Lab) -> bool:
    """Whether etcd is healthy."""
    return _inside_answers(lab, "http://127.0.0.1:2379/health")


def registry(lab: Lab) -> bool:
    """Whether the CNCF registry answers."""
    return _inside_answers(lab, f"http://{lab.at('registry')}/")


def dns(lab: Lab) -> bool:
    """Whether CoreDNS has read the cluster's services."""
    return _inside_answers(lab, "http://127.0.0.1:8181/ready")


def containerd(lab: Lab) -> bool:
    """Whether containerd answers, its part for Kubernetes included."""
    with contextlib.suppress(ProcessFailed):
        return "cri" in world.inside(lab, "ctr", "plugins", "ls", "id==cri", timeout=30)
    return False


def docker(lab: Lab) -> bool:
    """Whether the Docker engine answers a ping."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(SHORT)
        channel.connect(str(lab.run / "docker.sock"))
        channel.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        return b"200 OK" in channel.recv(64)
    return False


def artifactory(lab: Lab) -> bool:
    """Whether the repository manager answers."""
    return answers(f"http://{lab.at('artifactory')}/artifactory/api/system/ping")


def git(lab: Lab) -> bool:
    """Whether the git server answers and asks for a password."""
    return answers(f"http://{lab.at('git')}/", 401)
