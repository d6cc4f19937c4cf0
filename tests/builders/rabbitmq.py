"""
A private RabbitMQ, with ports and data of its own, which a test may stop, kill, restart and rob of its data.

Each test that shares a node gets a virtual host of its own, in which no other test's queues are.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from kombu import Connection

from builders.ports import free_port

# Where packages put the server's own script. What is on the PATH of Debian is a wrapper that only root may call.
_SCRIPTS = (
    Path("/usr/lib/rabbitmq/bin/rabbitmq-server"),
    Path("/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server"),
    Path("/usr/local/opt/rabbitmq/sbin/rabbitmq-server"),
    Path("/opt/rabbitmq/sbin/rabbitmq-server"),
)
_PATIENCE_S = 120.0
_STOP_S = 60.0
_POLL_S = 0.05
_DONE = "{ok, done}"

_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
num_acceptors.tcp = 2
disk_free_limit.absolute = 20MB
vm_memory_high_watermark.absolute = 512MB
log.console = false
log.file.level = info
raft.wal_max_size_bytes = 16777216
"""
# Two schedulers of each kind, and the node's own port only on loopback.
_ERLANG_ARGUMENTS = "+S 2:2 +SDcpu 2:2 +SDio 2 -kernel inet_dist_use_interface {127,0,0,1}"
# What the node tells of a quorum queue is some seconds old, and nothing until its leader is there after a start; so
# the leader itself is asked, and waited for.
_COUNT_MESSAGES = """\
Ask = fun(Q, F) -> {ok, {_, N}, _} = ra:leader_query(amqqueue:get_pid(Q), fun rabbit_fifo:F/1, 20000), N end,
Tell = fun(Q, K) -> [{K, N}] = rabbit_amqqueue:info(Q, [K]), N end,
Count = fun(Q) -> case amqqueue:get_type(Q) of
    rabbit_quorum_queue -> [Ask(Q, query_messages_ready), Ask(Q, query_messages_checked_out)];
    _ -> [Tell(Q, messages_ready), Tell(Q, messages_unacknowledged)]
end end,
Depths = [{element(4, amqqueue:get_name(Q)), Count(Q)} || Q <- rabbit_amqqueue:list(VHOST)],
io:format("~s", [rabbit_json:encode(maps:from_list(Depths))])"""


@dataclass(frozen=True, kw_only=True)
class QueueDepth:
    """
    The messages of a queue.
    """

    ready: int
    unacknowledged: int  # with a consumer, or on the way to it

    @property
    def total(self) -> int:
        """
        Give all of them.
        """
        return self.ready + self.unacknowledged


@dataclass(frozen=True, kw_only=True)
class RabbitMQServer:
    """
    A RabbitMQ that is installed.
    """

    script: Path  # starts it in the foreground, as whoever calls it
    version: str  # empty where its folder does not tell


def find_server() -> RabbitMQServer | None:
    """
    Find a RabbitMQ of which a private node can be started.
    """
    for script in _SCRIPTS:
        if os.access(script, os.X_OK) and shutil.which("epmd") and shutil.which("erl_call"):
            # …/rabbitmq_server-3.10.8/sbin/rabbitmq-server
            folder = script.resolve().parent.parent.name
            return RabbitMQServer(script=script, version=folder.removeprefix("rabbitmq_server-"))
    return None


class RunningRabbitMQ:
    """
    A node that runs: `url` and `new_vhost()` are what `STOPSEARCH_BROKER_URL` takes.

    As root it runs as the user `rabbitmq`, else as whoever runs the tests. Its data is in a folder of its own, which
    `end` removes; it dies with the thread that started it.
    """

    def __init__(self) -> None:
        server = find_server()
        assert server is not None, "RabbitMQ is not installed; want(Service.RABBITMQ) tells so beforehand"
        self._script = server.script
        self._port, self._node_port, self._names_port = free_port(), free_port(), free_port()
        self._cookie = secrets.token_hex(16)
        self._account = _account_for_root() if os.geteuid() == 0 else None
        self.folder = self._make_folder()
        self._vhosts: list[str] = []
        self._names: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:  # whatever ended the start, Ctrl-C included: no process may be left behind
            self.end()
            raise

    @property
    def url(self) -> str:
        """
        Give the address of its first virtual host.
        """
        return self._address("/")

    @property
    def log(self) -> str:
        """
        Give what it has logged.
        """
        return "".join(path.read_text(errors="replace") for path in sorted((self.folder / "log").glob("*.log")))

    def start(self) -> None:
        """
        Start it, with the data and the ports that it had before, and wait until it takes connections.
        """
        assert self._process is None, "it runs already"
        if self._names is None:
            # Erlang's registry of nodes. Were it left to the node to start it, it would outlive it.
            epmd = shutil.which("epmd") or "epmd"
            self._names = self._spawn([epmd, "-address", "127.0.0.1", "-port", str(self._names_port)])
        self._process = self._spawn([str(self._script)])
        self._wait_until_it_answers()

    def stop(self) -> None:
        """
        Stop it in good order.
        """
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_STOP_S)
        self._process = None

    def kill(self) -> None:
        """
        End it at once, as a crash would (SIGKILL).
        """
        assert self._process is not None, "it does not run"
        self._process.kill()
        self._process.wait(_STOP_S)
        self._process = None

    def restart(self) -> None:
        """
        Stop it in good order, and start it with its data.
        """
        self.stop()
        self.start()

    def reset(self) -> None:
        """
        Kill it if it runs, and start it without any of its data, but with the virtual hosts that were made, empty.
        """
        if self._process is not None:
            self.kill()
        for place in ("data", "log"):
            shutil.rmtree(self.folder / place)
            self._make_own(self.folder / place)
        self.start()
        for name in self._vhosts:
            self._add_vhost(name)

    def end(self) -> None:
        """
        End all of it, whatever state it is in, and remove its data.
        """
        for process in (self._process, self._names):
            if process is not None:
                process.kill()
                process.wait(_STOP_S)
        self._process = self._names = None
        # What an ended node's own children still write is gone with the folder at the second look.
        for _ in range(2):
            shutil.rmtree(self.folder, ignore_errors=True)

    def new_vhost(self) -> str:
        """
        Make a virtual host with nothing in it, and give its address.
        """
        name = f"test-{secrets.token_hex(4)}"
        self._add_vhost(name)
        self._vhosts.append(name)
        return self._address(name)

    def drop_vhost(self, url: str) -> None:
        """
        Drop a virtual host by its address, and with it its queues, and its connections.
        """
        name = vhost_of(url)
        self._vhosts.remove(name)
        self.evaluate(f"ok = rabbit_vhost:delete({_binary(name)}, {_binary('tests')})")

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """
        Give the address of a virtual host that is there for as long as the context lasts.
        """
        url = self.new_vhost()
        try:
            yield url
        finally:
            if self._process is not None:
                self.drop_vhost(url)

    def queue_depths(self, url: str) -> dict[str, QueueDepth]:
        """
        Count the messages of every queue of a virtual host, as of now.
        """
        said = self.evaluate(_COUNT_MESSAGES.replace("VHOST", _binary(vhost_of(url))))
        depths: dict[str, tuple[int, int]] = json.loads(said)
        return {name: QueueDepth(ready=ready, unacknowledged=taken) for name, (ready, taken) in depths.items()}

    def evaluate(self, expressions: str) -> str:
        """
        Evaluate Erlang within the node, and give what it printed: far sooner than `rabbitmqctl`, which starts a
        whole Erlang for each call.
        """
        erl_call = shutil.which("erl_call")
        assert erl_call is not None, "Erlang's erl_call is not on the PATH"
        address = f"127.0.0.1:{self._node_port}"
        answer = subprocess.run(
            [erl_call, "-c", self._cookie, "-r", "-address", address, "-e", "-fetch_stdout", "-timeout", "60"],
            input=f"{expressions}, done.\n",
            capture_output=True,
            text=True,
            env=self._environment(),
            cwd="/",
            check=False,
        )
        # It exits with 0 also where the node refused.
        assert answer.stdout.endswith(_DONE), f"{expressions}\n{answer.stdout}\n{answer.stderr}"
        return answer.stdout.removesuffix(_DONE)

    def _add_vhost(self, name: str) -> None:
        vhost, guest, tests, everything = map(_binary, (name, "guest", "tests", ".*"))
        self.evaluate(
            f"ok = rabbit_vhost:add({vhost}, {tests}), ok = rabbit_auth_backend_internal:set_permissions("
            f"{guest}, {vhost}, {everything}, {everything}, {everything}, {tests})"
        )

    def _address(self, vhost: str) -> str:
        name = "/" if vhost == "/" else quote(vhost, safe="")
        return f"amqp://guest:guest@127.0.0.1:{self._port}/{name}"

    def _make_folder(self) -> Path:
        # Not among pytest's folders: those are closed to the user that the node runs as.
        folder = Path(tempfile.mkdtemp(prefix="stopsearch-rabbitmq-", dir="/tmp"))
        self._give(folder)
        for place in ("data", "log", "home"):
            self._make_own(folder / place)
        cookie = folder / "home" / ".erlang.cookie"
        cookie.write_text(self._cookie)
        cookie.chmod(0o400)
        (folder / "rabbitmq.conf").write_text(_CONFIGURATION.format(port=self._port))
        (folder / "enabled_plugins").write_text("[].\n")
        for path in (cookie, folder / "rabbitmq.conf", folder / "enabled_plugins"):
            self._give(path)
        return folder

    def _make_own(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._give(folder)

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.folder / "home"),
            "RABBITMQ_NODENAME": f"x{self._port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG_ARGUMENTS,
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # The script then becomes the node instead of waiting for it: our child is the node, and signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        # Its end comes with ours, also when we are killed.
        if setpriv := shutil.which("setpriv"):
            given = ["--pdeathsig", "KILL"]
            if self._account is not None:
                given += ["--reuid", str(self._account.pw_uid), "--regid", str(self._account.pw_gid), "--init-groups"]
            command = [setpriv, *given, "--", *command]
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )

    def _wait_until_it_answers(self) -> None:
        until = time.monotonic() + _PATIENCE_S
        while not self._answers():
            assert self._process is not None
            assert self._process.poll() is None, f"RabbitMQ ended at once: {self._said()}"
            assert time.monotonic() < until, f"RabbitMQ did not start: {self._said()}"
            time.sleep(_POLL_S)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            with Connection(self.url, connect_timeout=2) as connection:
                connection.connect()
            return True
        return False

    def _said(self) -> str:
        return f"{(self.folder / 'output').read_text(errors='replace')}\n{self.log}"[-4000:]


@contextmanager
def running_rabbitmq() -> Iterator[RunningRabbitMQ]:
    """
    Give a node of one's own, for as long as the context lasts.
    """
    server = RunningRabbitMQ()
    try:
        yield server
    finally:
        server.end()


def _account_for_root() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("rabbitmq")
    except KeyError:
        return None


def vhost_of(url: str) -> str:
    """
    Tell the virtual host of an address.
    """
    path = urlsplit(url).path
    return unquote(path[1:]) or "/"


def _binary(text: str) -> str:
    assert '"' not in text
    assert "\\" not in text
    return f'<<"{text}">>'
