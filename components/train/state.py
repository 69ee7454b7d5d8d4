"""Where a run's progress lies, so that a later start goes on from it: a folder or a prefix of a bucket."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.train.recipe import HARMLESS_KEYS, differing_keys
from core.errors import MismatchError
from core.files import is_temporary
from core.storage import join, open_store
from core.storage.lease import Lease
from core.storage.local import FileStore
from models.checkpoint import Checkpoint, read_checkpoint, save_checkpoint

MANIFEST = "run.json"
FINISHED = "finished.json"
LEASE = "lease.json"
BEST = "best/"
STEPS = "steps/"
RUN = "{run}"  # in a state's URI: stands for the run's fingerprint


@dataclass(frozen=True)
class Manifest:
    """What a run was started with; a later start with the same state must agree.

    Attributes:
        recipe: the training recipe as JSON values.
        inputs: by name (``dataset``, ``base``, ``hard_negatives``) the SHA-256 of each input's content, "" for none.
        places: by name where each input lay, for messages alone.
        threads: threads a CPU sums with. Another number is allowed, but may change the last bits.
    """

    recipe: dict[str, Any]
    inputs: dict[str, str]
    places: dict[str, str]
    threads: int

    @property
    def fingerprint(self) -> str:
        """12 hex digits that are equal for runs which may go on from each other's checkpoints."""
        decisive = {key: value for key, value in self.recipe.items() if key not in HARMLESS_KEYS}
        text = json.dumps([decisive, self.inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class RunState:
    """The checkpoints of one run.

    ``run.json`` says what it was started with, ``steps/`` holds the last step checkpoints, ``best/`` the best
    epoch's, and ``finished.json`` appears when all is done. Every file appears whole or not at all.

    One process at a time writes, the holder of ``lease.json``: its lease is checked before each write. An upload that
    a suspended holder was in the middle of may still arrive after another took over. So step checkpoints carry the
    lease's fence before the step, which sorts those of earlier holders first, and best ones their epoch: what comes
    late is under a name that is not read.
    """

    def __init__(self, uri: str, name: str, keep_last: int) -> None:
        """Set up the state; nothing is contacted yet.

        Args:
            uri: a folder or ``s3://`` prefix, which several runs may share.
            name: the run's own place in it.
            keep_last: step checkpoints kept.
        """
        self.uri = join(uri, name)
        self._store = open_store(self.uri)
        self._keep_last = keep_last
        self._lease: Lease | None = None

    @contextmanager
    def held(self, notify: Callable[[str], None]) -> Iterator[None]:
        """Be the one process that writes while inside.

        Args:
            notify: told why this waits, where it does.

        Raises:
            LeaseHeldError: when another process does, and lives.
        """
        with Lease(self._store, LEASE, notify=notify) as self._lease:
            try:
                yield
            finally:
                self._lease = None

    def claim(self, manifest: Manifest) -> str:
        """Check that earlier checkpoints are of the same run, or note what this run is.

        What a killed process left half written is removed.

        Returns:
            A warning for a person, or "".

        Raises:
            MismatchError: when recipe or inputs differ, naming both sides.
        """
        self._check_lease()
        self._sweep()
        if self._store.head(MANIFEST) is None:
            self._store.write(MANIFEST, json.dumps(vars(manifest), indent=2, sort_keys=True).encode())
            return ""
        earlier = Manifest(**json.loads(self._store.read(MANIFEST)))
        differences = [
            f"recipe key {key}: {before!r} there, {now!r} here"
            for key, (before, now) in differing_keys(earlier.recipe, manifest.recipe).items()
        ]
        differences += [
            f"{name}: {earlier.places[name] or 'none'} (sha256 {before[:12]}) there, "
            f"{manifest.places[name] or 'none'} (sha256 {manifest.inputs[name][:12]}) here"
            for name, before in earlier.inputs.items()
            if before != manifest.inputs[name]
        ]
        if differences:
            lines = "\n".join(f"  {line}" for line in differences)
            raise MismatchError(
                f"the checkpoints in {self.uri} are of a run that was started differently:\n{lines}\n"
                f"go on with what it was started with, give another state, or delete {self.uri}"
            )
        if earlier.threads != manifest.threads:
            return (
                f"the run began with {earlier.threads} CPU thread(s) and goes on with {manifest.threads}: "
                "the last bits of sums may differ (set OMP_NUM_THREADS)"
            )
        return ""

    def latest(self) -> Checkpoint | None:
        """Return the last step checkpoint, None where there is none."""
        keys = self._keys(STEPS)
        if not keys:
            return None
        with self._local(keys[-1]) as path:
            return read_checkpoint(path)

    def save_step(self, step: int, checkpoint: Checkpoint, best_epoch: int | None = None) -> None:
        """Write a step checkpoint, then remove those beyond the last few.

        Args:
            step: optimizer steps of the run so far.
            checkpoint: of them.
            best_epoch: the best so far; the checkpoints of others are removed, since no later start needs them.
        """
        fence = self._lease.fence if self._lease else 0
        self._save(f"{STEPS}{fence:06d}-{step:09d}.pth", checkpoint)
        for key in self._keys(STEPS)[: -self._keep_last]:
            self._store.delete(key)
        if best_epoch is not None:
            for key in self._keys(BEST):
                if key != _best_key(best_epoch):
                    self._store.delete(key)

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint of the best epoch so far."""
        self._save(_best_key(checkpoint.epoch), checkpoint)

    def fetch_best(self, epoch: int, path: Path) -> None:
        """Copy the checkpoint of the best epoch to ``path``."""
        self._store.download(_best_key(epoch), path)

    def finish(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Note that the run is done, with the lines of its log."""
        self._check_lease()
        self._store.write(FINISHED, json.dumps(lines).encode())

    def discard_steps(self) -> None:
        """Remove the step checkpoints of a run that is done: a later start needs the best one alone."""
        self._check_lease()
        for key in self._keys(STEPS):
            self._store.delete(key)

    def finished(self) -> list[dict[str, Any]] | None:
        """Return the log of a run that is done, None while it is not."""
        if self._store.head(FINISHED) is None:
            return None
        return list(json.loads(self._store.read(FINISHED)))

    def _sweep(self) -> None:
        if isinstance(self._store, FileStore):
            root = self._store.root
            for path in [*root.glob(".*"), *root.glob(f"{STEPS}.*"), *root.glob(f"{BEST}.*")]:
                if is_temporary(path.name):
                    path.unlink()

    def _keys(self, folder: str) -> list[str]:
        return sorted(info.key for info in self._store.list(folder) if info.key.endswith(".pth"))

    def _check_lease(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def _save(self, key: str, checkpoint: Checkpoint) -> None:
        if isinstance(self._store, FileStore):
            self._check_lease()
            save_checkpoint(self._store.path(key), checkpoint)
            return
        with tempfile.TemporaryDirectory(prefix="veriframe-state-") as folder:
            path = Path(folder) / "checkpoint.pth"
            save_checkpoint(path, checkpoint)
            self._check_lease()
            self._store.upload(path, key)

    @contextmanager
    def _local(self, key: str) -> Iterator[Path]:
        if isinstance(self._store, FileStore):
            yield self._store.path(key)
            return
        with tempfile.TemporaryDirectory(prefix="veriframe-state-") as folder:
            path = Path(folder) / "checkpoint.pth"
            self._store.download(key, path)
            yield path


def _best_key(epoch: int) -> str:
    return f"{BEST}{epoch:06d}.pth"
