"""A real Slurm of one node with pretended V100s, for as long as a test module needs it.

Started by hand, as root on Debian, in a folder of its own. The one thing outside it is
/etc/slurm/{slurm,gres,cgroup}.conf: within jobs Snakemake's plugin looks nowhere else.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

CPUS, MEMORY, CARDS = 64, 64_000, 16  # pretended
ETC = Path("/etc/slurm")
NAME = "lca-tests"

SLURM = """
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={root}/munge.socket
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
MailProg=/bin/true
ProctrackType=proctrack/{processes}
TaskPlugin=task/{memory}
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1
DefMemPerCPU=200
KillWait=2
MinJobAge=300
JobRequeue=0
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={megabytes} Gres=gpu:v100:{cards}
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE
"""


class Unavailable(Exception):
    """Why no cluster can be started here."""


class Cluster:
    """A context: the cluster is up inside it. Raises `Unavailable`."""

    def __enter__(self) -> "Cluster":
        _refuse_unsuitable()
        self.root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.root.chmod(0o755)  # munge wants its socket to be reachable by all
        self.daemons = {}
        try:
            self._configure()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception) -> None:
        """Cancel all jobs, end the daemons, remove every file and control group."""
        up = len(self.daemons) == 3
        if up:
            with suppress(TimeoutError, subprocess.TimeoutExpired):
                run("scancel", "--user=root", "--signal=KILL")
                run("scancel", "--user=root")
                _wait(20, "the last jobs", lambda: not _steps())
        for name in reversed(self.daemons):
            self._stop(name)
        for step in _steps() if up else []:  # what no daemon could end
            for process in (*step.children(recursive=True), step):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        for name in ("slurm", "gres", "cgroup"):
            if _is_ours(ETC / f"{name}.conf", self.root):
                (ETC / f"{name}.conf").unlink()
        for group in Path("/sys/fs/cgroup").glob(f"*/slurm_{_host()}"):
            for folder in (*sorted(group.rglob("*/"), reverse=True), group):
                with suppress(OSError):  # a killed process may be in it for a moment longer
                    folder.rmdir()
        shutil.rmtree(self.root)

    def _configure(self) -> None:
        for name in ("state", "spool", "dev"):
            (self.root / name).mkdir()
        version_1 = _can_make("freezer") and _can_make("memory")
        # Real clusters kill all that a job leaves behind, which only control groups can.
        files = {
            "slurm": SLURM.format(
                name=NAME,
                host=_host(),
                root=self.root,
                ports=_free_ports(2),
                processes="cgroup" if version_1 else "linuxproc",
                memory="cgroup" if version_1 else "none",
                cpus=CPUS,
                megabytes=MEMORY,
                cards=CARDS,
            ),
            # Without the plugin's name, Slurm looks for systemd.
            "cgroup": "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\nConstrainSwapSpace=no\n",
            "gres": "",
        }
        self.limits_memory = version_1
        for card in range(CARDS):
            device = self.root / "dev" / f"nvidia{card}"
            device.symlink_to("/dev/null")  # a card has to be a character device
            files["gres"] += f"NodeName={_host()} Name=gpu Type=v100 File={device}\n"
        ETC.mkdir(exist_ok=True)
        for name, content in files.items():
            (self.root / f"{name}.conf").write_text(content)
            link = ETC / f"{name}.conf"
            if link.is_symlink() and not link.exists():
                link.unlink()  # left by a cluster of ours that was killed
            try:
                link.symlink_to(self.root / f"{name}.conf")
            except FileExistsError:
                raise Unavailable(f"{link} is there: a Slurm that is not of the tests") from None

    def _start(self) -> None:
        key, munge = self.root / "munge.key", self.root / "munge.socket"
        run("mungekey", "--create", f"--keyfile={key}")
        self._daemon(
            *("munged", "--foreground", f"--key-file={key}", f"--socket={munge}"),
            *(f"--{name}-file={self.root}/munged.{name}" for name in ("pid", "log", "seed")),
        )
        _wait(10, "munged", munge.exists)
        self.start_controller("-c")
        self._daemon("slurmd", "-D")
        _wait(20, "the node", lambda: self.state() == "idle")

    def _daemon(self, *command: str) -> None:
        with (self.root / f"{command[0]}.output").open("w") as output:
            daemon = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.root,
                env=_environment(),
                preexec_fn=_die_with_parent,
            )
        self.daemons[command[0]] = daemon

    def _stop(self, name: str) -> None:
        daemon = self.daemons[name]
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def state(self) -> str:
        """Return the node's state, such as `idle`, `mix` or `down`."""
        return run("sinfo", "--noheader", "--format=%t").rstrip("*")

    def start_controller(self, *options: str) -> None:
        """Start the controller, which goes on from the state of before unless `-c` clears it."""
        self._daemon("slurmctld", "-D", *options)
        _wait(20, "slurmctld", lambda: "is UP" in run("scontrol", "ping"))

    def stop_controller(self) -> None:
        """Have no controller answer: jobs run on."""
        self._stop("slurmctld")

    def fail_node(self) -> None:
        """Have the node fail, with all that runs on it, and come back."""
        run("scontrol", "update", f"NodeName={_host()}", "State=DOWN", "Reason=test")
        _wait(30, "the end of what ran", lambda: not _steps())
        run("scontrol", "update", f"NodeName={_host()}", "State=RESUME")


def run(*command: str) -> str:
    """Run one of Slurm's commands; return what it printed, errors included."""
    process = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
        timeout=30,
    )
    return process.stdout.strip()


def _steps() -> list[psutil.Process]:
    """Return the processes that each look after a step of a job."""
    return running("slurmstepd")


def running(name: str) -> list[psutil.Process]:
    """Return the processes of a program that run: of a zombie there is but its status."""
    found = psutil.process_iter(["name", "status"])
    living = (process for process in found if process.info["status"] != psutil.STATUS_ZOMBIE)
    return [process for process in living if process.info["name"] == name]


def _refuse_unsuitable() -> None:
    """Install what is missing. Raises `Unavailable` if no cluster can, or may, be started here."""
    if os.getuid() != 0:
        raise Unavailable("a Slurm for tests needs root")
    if "SLURM_CONF" in os.environ or "SLURM_JOB_ID" in os.environ:
        raise Unavailable("a Slurm is already there: SLURM_CONF or SLURM_JOB_ID is set")
    for name in ("slurmctld", "slurmd", "slurmstepd"):
        if running(name):
            raise Unavailable(f"a Slurm is already there: {name} is running")
    if not _host() or not _resolves(_host()):
        raise Unavailable(f"this machine's name ({_host()}) has no address")
    if not all(map(shutil.which, ("munged", "slurmctld", "slurmd", "sbatch"))):
        _install()


def _install() -> None:
    if not shutil.which("apt-get"):
        raise Unavailable("Slurm is not installed, and only Debian's is installed by the tests")
    install = "apt-get update && apt-get install --yes --no-install-recommends slurm-wlm munge"
    try:
        process = subprocess.run(
            install,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
            timeout=180,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("apt-get could not install slurm-wlm and munge in 3 minutes") from None
    if process.returncode:
        last = process.stdout.strip().splitlines()[-1]
        raise Unavailable(f"apt-get could not install slurm-wlm and munge: {last}")


def _environment() -> dict[str, str]:
    """Return the environment without what would steer Slurm's commands."""
    prefixes = ("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "SINFO_", "SCANCEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def _die_with_parent() -> None:
    """Have the kernel end this process should the tests be killed (prctl's PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _resolves(host: str) -> bool:
    try:
        return bool(socket.gethostbyname(host))
    except OSError:
        return False


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _can_make(controller: str) -> bool:
    """Return whether control groups (version 1) can be made."""
    group = Path("/sys/fs/cgroup") / controller / f"probe_{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return False
    made = (group / "cgroup.procs").exists()
    group.rmdir()
    return made


def _is_ours(link: Path, root: Path) -> bool:
    return link.is_symlink() and link.readlink().parent == root


def _wait(seconds: float, what: str, ready: Callable[[], bool]) -> None:
    """Raise `TimeoutError` unless `ready` within a time."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.1)
