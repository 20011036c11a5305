"""Starts agents for the tests here, each on a port of its own, with a data directory that goes with it.

Only the standard library: the tests of Debian's boto3 run with the system's Python.
"""

import atexit
import functools
import http.client
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import zipfile

START_S_MAX = 30
STOP_S_MAX = 30
REQUEST_S_MAX = 30
LOG_TAIL_BYTES = 4000

JIFFYD = os.environ["JIFFYD"]
JIFFY_VMM = os.environ["JIFFY_VMM"]
IMAGES = pathlib.Path(os.environ["JIFFY_IMAGES"])


def image(name):
    """The image of an example."""
    return (IMAGES / f"{name}.elf").read_bytes()


@functools.cache
def zip_of(example, entry="bootstrap"):
    """The same in a zip file, as Lambda takes code."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(entry, image(example))
    return buffer.getvalue()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    """A response that has been read to its end."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


class Agent:
    """An agent that runs. Stop it: nothing else does."""

    def __init__(self, token=None, keys=None, **settings):
        """`keys` is a text of ID:SECRET lines, a setting is a key of jiffyd.toml with two underscores behind a section."""
        self.directory = tempfile.TemporaryDirectory(prefix="jiffy-clients-")
        directory = pathlib.Path(self.directory.name)
        self.token = token
        if token:
            settings["token_file"] = self._secret("token", token)
        if keys:
            settings["lambda__keys_file"] = self._secret("keys", keys)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = open(directory / "agent.log", "wb")
        variables = {f"JIFFYD_{key.upper()}": str(value) for key, value in settings.items()}
        self.process = subprocess.Popen(
            [JIFFYD, "--data-dir", directory / "data", "--vmm", JIFFY_VMM]
            + ["--listen", f"127.0.0.1:{self.port}", "--allow-missing-cgroups"],
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        # Should nobody stop it.
        atexit.register(self.process.kill)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.process.kill()
            self.process.wait()
            print(self.log_tail())
            self.log.close()
            self.directory.cleanup()
            raise

    def _secret(self, name, text):
        path = pathlib.Path(self.directory.name) / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def _wait_until_it_answers(self):
        end = time.monotonic() + START_S_MAX
        while True:
            assert self.process.poll() is None, "jiffyd ended at its start"
            try:
                assert self.request("GET", "/v1/health").status == 200
                return
            except OSError:
                assert time.monotonic() < end, "jiffyd does not answer"
                time.sleep(0.05)

    def log_tail(self):
        text = (pathlib.Path(self.directory.name) / "agent.log").read_bytes()
        return text[-LOG_TAIL_BYTES:].decode(errors="replace")

    def stop(self):
        """Ends it as systemd does. Fails if it does not end well, or if a VM outlives it."""
        children = descendants(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = "none in time"
        tail = self.log_tail()
        self.log.close()
        self.directory.cleanup()
        assert code == 0, f"jiffyd ended with {code}:\n{tail}"
        assert "panicked" not in tail, tail
        eventually(lambda: not any(map(is_running, children)), "VMs outlive the agent")

    def request(self, method, path, body=None, headers=None):
        """One request on a connection of its own."""
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if isinstance(body, dict):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_S_MAX)
        try:
            connection.request(method, path, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def upload(self, example):
        """Stores an image; its digest."""
        stored = self.request("POST", "/v1/images", image(example))
        assert stored.status == 201, stored.body
        return stored.json()["digest"]

    def deploy(self, name, example, **settings):
        """Makes an image a function's live version."""
        document = {"image": self.upload(example)} | settings
        deployed = self.request("PUT", f"/v1/functions/{name}", document)
        assert deployed.status in (200, 201), deployed.body
        return deployed.json()

    def invoke(self, name, event):
        """Sends an event."""
        return self.request("POST", f"/v1/functions/{name}/invoke", event)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1])


def descendants(pid):
    """Processes below one, with the time each was started, so that an id given again is not taken for it."""
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = (int(fields[1]), fields[19])
    found, wanted = {}, {pid}
    while wanted:
        children = {child for child, (parent, _) in parents.items() if parent in wanted}
        wanted = children - found.keys()
        found |= {child: parents[child][1] for child in wanted}
    return list(found.items())


def is_running(process):
    pid, started = process
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[19] == started and fields[0] != "Z"


def eventually(holds, otherwise, s_max=10):
    """Waits until something holds."""
    end = time.monotonic() + s_max
    while not holds():
        assert time.monotonic() < end, otherwise() if callable(otherwise) else otherwise
        time.sleep(0.05)
