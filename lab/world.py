"""The laboratory's namespaces: its processes, mounts, interfaces and iptables rules live in them and end with them.

unshare ── supervisord (first process inside) ── the parts' programs
slirp4netns: the network inside and the forwarded ports; ends by itself when the last process inside does
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import SupervisorTransport

from lab.layout import NODE_IP, Lab
from pipeline_tools import process
from pipeline_tools.errors import ConfigError, InfrastructureError

CGROUPS = Path("/sys/fs/cgroup")
# How long the programs may take to end by themselves, in seconds.
GRACE = 15.0


@dataclass(frozen=True, kw_only=True)
class World:
    """A running laboratory's outermost processes.

    Args:
        unshare: its process identifier; killing it kills everything inside.
        inside: the first process inside, as seen from outside.
        slirp: the network's.
        born: when each was started (clock ticks since boot): identifiers are reused, and not valid after a reboot.
        boot: identifier of the boot that the others belong to.
    """

    unshare: int
    inside: int
    slirp: int
    born: Mapping[str, int]
    boot: str

    def alive(self) -> bool:
        """Whether all of it still runs."""
        return all(born(getattr(self, name)) == when for name, when in self.born.items()) and self.boot == _boot()


def read(lab: Lab) -> World | None:
    """What was started last, running or not; None after ``down``."""
    try:
        return World(**json.loads((lab.run / "world.json").read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InfrastructureError(f"{lab.run / 'world.json'} is damaged.", hint="Run `lab down`.") from error


def running(lab: Lab) -> bool:
    """Whether the laboratory's namespaces are alive."""
    world = read(lab)
    return world is not None and world.alive()


def start(lab: Lab) -> None:
    """Make the namespaces, with supervisord (no program started yet) and the network: all of it, or nothing.

    Raises:
        ConfigError: a port is taken.
        InfrastructureError: the machine does not let us; with the end of the log.
    """
    _check_ports(lab)
    _make_cgroups(lab)
    started: list[subprocess.Popen[bytes]] = []
    try:
        _start(lab, started)
        for part, port in lab.forwarded.items():
            _forward(lab, part, port)
    except BaseException:
        # nobody would know of these, and of a world without some of its ports `up` would say that it is there
        for program in started:
            program.kill()
        (lab.run / "world.json").unlink(missing_ok=True)
        for program in started:
            program.wait()
        raise


def _start(lab: Lab, started: list[subprocess.Popen[bytes]]) -> None:
    """Start the outermost processes, each of which is in ``started`` as soon as it lives, and write down which."""
    with (lab.log / "world.log").open("ab") as log:
        kinds = ["--pid", "--mount", "--net", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        # The pipe's end is inherited by everything inside: when the last of it is gone, slirp4netns reads the end.
        ended, living = os.pipe()
        readable, ready = os.pipe()
        unshare = _detached(["unshare", *kinds, "sh", str(lab.etc / "world.sh")], log=log, keep=(living,))
        started.append(unshare)
        os.close(living)
        inside = _until(lambda: _child(unshare.pid), 10, f"The namespaces did not come up: see {lab.log / 'world.log'}")
        _until(lambda: (lab.run / "supervisor.sock").exists() or unshare.poll() is not None, 20, "supervisord did not")
        options = ["--configure", "--mtu=65520", "--disable-host-loopback", f"--api-socket={lab.run / 'slirp.sock'}"]
        options += [f"--ready-fd={ready}", f"--exit-fd={ended}"]
        slirp = _detached(["slirp4netns", *options, str(inside), "tap0"], log=log, keep=(ready, ended))
        started.append(slirp)
        os.close(ready)
        os.close(ended)
        with os.fdopen(readable, "rb") as file:
            answered = file.read(1)
    if unshare.poll() is not None or not answered:
        tail = (lab.log / "world.log").read_text().splitlines()[-10:]
        raise InfrastructureError("The laboratory's namespaces could not be made.", details="\n".join(tail))
    pids = {"unshare": unshare.pid, "inside": inside, "slirp": slirp.pid}
    world = World(**pids, born={name: born(pid) for name, pid in pids.items()}, boot=_boot())
    (lab.run / "world.json").write_text(json.dumps(asdict(world)))


def _forward(lab: Lab, part: str, port: int) -> None:
    """Have a port of the host lead to the same one inside."""
    forward = {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": port, "guest_addr": NODE_IP, "guest_port": port}
    answer = _ask_slirp(lab, {"execute": "add_hostfwd", "arguments": forward})
    if "error" in answer:
        raise ConfigError(f"Port {port} ({part}) cannot be forwarded: {answer['error']['desc']}.")


def stop(lab: Lab) -> None:
    """End everything, politely first, and remove what a kill leaves: cgroups and sockets. Safe to repeat."""
    world = read(lab)
    if world is not None and world.boot == _boot():
        if world.alive():
            _end_programs(lab)
        for name in ("unshare", "inside", "slirp"):  # --kill-child: the second dies with the first
            if born(getattr(world, name)) == world.born[name]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(getattr(world, name), signal.SIGKILL)
        names = ("unshare", "inside", "slirp")
        _until(lambda: all(born(getattr(world, name)) != world.born[name] for name in names), 20, "It does not end")
    _remove_cgroups(lab)
    shutil.rmtree(lab.run, ignore_errors=True)


class Supervisor:
    """The remote procedures of the laboratory's supervisord; may be shared by threads.

    One connection for all calls: supervisord may spin at full speed for the rest of its life when a connection ends
    in the moment in which it starts a program (it goes on polling a file descriptor that it has used again).
    """

    def __init__(self, lab: Lab) -> None:
        transport = SupervisorTransport(None, None, f"unix://{lab.run / 'supervisor.sock'}")
        self._server = xmlrpc.client.ServerProxy("http://lab", transport=transport)
        self._lock = threading.Lock()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *error: object) -> None:
        self._server("close")()

    def ask(self, procedure: str, *arguments: object) -> Any:
        """Call a procedure (``startProcess`` …)."""
        with self._lock:
            return getattr(cast(Any, self._server).supervisor, procedure)(*arguments)

    def state(self, program: str) -> str:
        """RUNNING, STARTING, BACKOFF, STOPPING, STOPPED, EXITED or FATAL."""
        return str(self.ask("getProcessInfo", program)["statename"])


def inside(lab: Lab, *command: str | Path, stdin: bytes | None = None, timeout: float = 600) -> str:
    """Run a command in the laboratory's namespaces; its standard output."""
    world = read(lab)
    if world is None:
        raise InfrastructureError("The laboratory does not run.", hint="Run `lab up`.")
    enter = ["nsenter", f"--target={world.inside}", "--pid", "--mount", "--net", "--ipc"]
    return process.run([*enter, *command], timeout=timeout, stdin=stdin).stdout


def holder(port: int) -> str:
    """Who listens on a port of the host, in words."""
    found = process.run(["ss", "-Hltnp", f"sport = :{port}"], timeout=10, ok=range(256)).stdout
    pid = found.partition("pid=")[2].partition(",")[0]
    if not pid:
        return "another process"
    words = (Path("/proc") / pid / "cmdline").read_bytes().decode(errors="replace").split("\0")
    socket_ = next((word for word in words if word.startswith("--api-socket=")), "")
    if socket_:
        return f"the laboratory in {Path(socket_.partition('=')[2]).parent.parent}"
    return f"process {pid} ({' '.join(words).strip()[:60]})"


def _check_ports(lab: Lab) -> None:
    if taken := list(taken_ports(lab)):
        raise ConfigError(
            "Ports of the laboratory are in use.",
            details="\n".join(taken),
            hint=f"Stop that, or have this one elsewhere: {elsewhere(lab)}",
        )


def elsewhere(lab: Lab) -> str:
    """What to type for a laboratory beside whatever has this one's ports."""
    return f"export PIPELINE_TOOLS_LAB_DIR={lab.dir}-2 PIPELINE_TOOLS_LAB_PORT={lab.port + 1000}"


def taken_ports(lab: Lab) -> Iterator[str]:
    """A sentence for each port of the laboratory that something else listens on."""
    for part, port in lab.forwarded.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                yield f"port {port} (for {part}) is held by {holder(port)}"


def _detached(argv: list[str], *, log: Any, keep: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """Start a process that outlives us; ``pipeline_tools.process`` is for those that must not."""
    null = subprocess.DEVNULL
    return subprocess.Popen(argv, stdin=null, stdout=log, stderr=log, pass_fds=keep, start_new_session=True)


def _child(pid: int) -> int:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text() if Path(f"/proc/{pid}").exists() else ""
    return int(text.split()[0]) if text.split() else 0


def born(pid: int) -> int:
    """Start time of a process, which tells it from a later one with its number; 0 when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _until(ready: Any, seconds: float, complaint: str) -> Any:
    end = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > end:
            raise InfrastructureError(f"{complaint} (waited {seconds:.0f} s).")
        time.sleep(0.05)
    return found


def _ask_slirp(lab: Lab, question: Mapping[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(10)
        channel.connect(str(lab.run / "slirp.sock"))
        channel.sendall(json.dumps(question).encode())
        return cast("dict[str, Any]", json.loads(channel.makefile().read()))


def _end_programs(lab: Lab) -> None:
    """Ask all programs at once to end; those that a kill would harm (databases) get their time."""
    with contextlib.suppress(OSError, xmlrpc.client.Error), Supervisor(lab) as supervisor:
        supervisor.ask("stopAllProcesses", False)
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            if not any(entry["statename"] in ("RUNNING", "STOPPING") for entry in supervisor.ask("getAllProcessInfo")):
                break
            time.sleep(0.1)


def _hierarchies() -> list[Path]:
    """Roots of the cgroup hierarchies: one with version 2, one for each controller with version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def _make_cgroups(lab: Lab) -> None:
    for root in _hierarchies():
        group = root / lab.name
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty sets accept no process
            if root.name == "cpuset":
                (group / name).write_text((root / name).read_text())
        if root == CGROUPS:
            controllers = (root / "cgroup.controllers").read_text().split()
            for place in (root, group):
                (place / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _remove_cgroups(lab: Lab) -> None:
    for root in _hierarchies():
        for folder, _, _ in os.walk(root / lab.name, topdown=False):
            # the kernel takes a moment to let go of processes that have just been killed
            _until(lambda folder=folder: _removed(Path(folder)), 10, f"{folder} is still in use")


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
