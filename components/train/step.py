"""The training step: from a sample index and a recipe to a model artifact."""

import hashlib
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from components.train.artifact import LOG_FILE, TrainSummary, read_summary, write_artifact
from components.train.base import find_base_checkpoint, load_base
from components.train.distributed import Processes, join
from components.train.environment import prepare
from components.train.hard_negatives import read_hard_negatives
from components.train.launching import launch, must_launch
from components.train.log import EpochLog
from components.train.loop import Parts, Trainer, Validate
from components.train.norms import synchronize
from components.train.precision import choose_precision
from components.train.recipe import TrainRecipe
from components.train.sampling import EpochBatches, steps_per_epoch
from components.train.state import RUN, Manifest, RunState
from components.train.termination import Termination, leave_to_parent
from core.files import sha256_file
from core.lazy import import_now
from core.processors import processors
from core.revision import git_sha
from data.index import read_index
from data.shards import ShardReader
from judging.members import MODEL_FILE
from media.spec import PreprocessingSpec, require_suitable
from models.checkpoint import Checkpoint
from models.inputs import Normalize
from tasks.task import TASKS, TrainingRequest, TrainingSamples, ValidationRequest


@dataclass(frozen=True)
class Inputs:
    """What a run is started with.

    Attributes:
        dataset: the sample index folder.
        base: a checkpoint to start from, or a folder that holds it.
        hard_negatives: an index folder or a list of ids.
        cache: folder for shards that are fetched.
    """

    dataset: Path
    base: Path | None = None
    hard_negatives: Path | None = None
    cache: Path | None = None


def train(
    dataset: Path,
    output: Path,
    recipe: TrainRecipe,
    *,
    base: Path | None = None,
    hard_negatives: Path | None = None,
    state: str | None = None,
    cache: Path | None = None,
    upload: str | None = None,
) -> TrainSummary | None:
    """Train a model, or go on with an interrupted training.

    Writes to ``output``: ``<member>_<stage>_best.pth``, ``model.json``, ``log.jsonl`` and ``report.html``. A
    second start with the same state after the end trains nothing and writes the same model again.

    Under torchrun, which may span several nodes, every process calls this alike. The first of all writes state and
    output, which no other node need reach; data set and base must be there on every node.

    Args:
        dataset: a sample index folder with train and val splits.
        output: the folder to write.
        recipe: what to do.
        base: the checkpoint to fine-tune: a file, or a folder with ``<member>_<base_stage>_best.pth``. Its
            weights are taken; its optimizer's state is not, because fine-tuning is another run with other samples.
        hard_negatives: an index folder, or a file with one sample id a line.
        state: folder or ``s3://`` prefix of the step checkpoints, which outlives this machine; each run has its own
            place ``<member>_<stage>`` in it. ``{run}`` stands for a fingerprint of recipe and inputs, so that
            equal runs share their progress and others do not meet. By default a folder beside ``output``.
        cache: folder for shards fetched from S3.
        upload: folder or ``s3://`` prefix that the output's files are copied to at the end.

    Returns:
        What the run came to; None in the processes, and on the nodes, that do not write it.

    Raises:
        LeaseHeldError: when another process trains on the same state.
        LeaseLostError: when another took the state over while this one was suspended or cut off.
        PeerLostError: when another process of the run ended, or its node is out of reach.
        MismatchError: when the state is of a run with another recipe or other inputs; when the base does not fit.
        BadInputError: when the index, the base or the hard negatives cannot be used.
        SettingsError: when the recipe asks for what is not there.
        NonFiniteLossError: when the loss is no number any more, with the samples of that step.
        DeviceMemoryError: when the device has too little memory, with the recipe keys to lower.
        SystemExit: with 143 after a SIGTERM; everything is saved.
    """
    inputs = Inputs(dataset, base, hard_negatives, cache)
    state = state or f"{output}.state"
    with Termination() as termination:
        if must_launch(recipe):
            launch(recipe, _arguments(inputs, output, state, upload))
            return read_summary(output) if (output / MODEL_FILE).exists() else None
        with join(recipe) as processes:
            Run(inputs, output, recipe, state, upload, processes, termination).go()
            return read_summary(output) if processes.main else None


def _arguments(inputs: Inputs, output: Path, state: str, upload: str | None) -> list[str]:
    """Return the command line that starts the same run, but for the recipe."""
    given = {"dataset": inputs.dataset, "output": output, "state": state, "upload": upload, "base": inputs.base}
    given |= {"hard-negatives": inputs.hard_negatives, "cache": inputs.cache}
    return [f"--{name}={value}" for name, value in given.items() if value is not None]


class Run:
    """One start of a run, in one of its processes."""

    def __init__(
        self,
        inputs: Inputs,
        output: Path,
        recipe: TrainRecipe,
        state: str,
        upload: str | None,
        processes: Processes,
        termination: Termination,
    ) -> None:
        """Read the inputs; the arguments are those of ``train``."""
        self.inputs = inputs
        self.output = output
        self.recipe = recipe
        self.upload = upload
        self.processes = processes
        self.termination = termination
        self.base = find_base_checkpoint(inputs.base, recipe)
        self.family = recipe.parsed_family
        self.task = TASKS.get(self.family.task)
        self.index = read_index(inputs.dataset)
        extraction = self.index.spec.extraction
        require_suitable(recipe.input, recipe.name, extraction, str(inputs.dataset))
        self.spec = PreprocessingSpec(extraction=extraction, input=recipe.input)
        self.train_split = self.index.where(split="train")
        hard = inputs.hard_negatives
        self.hard = read_hard_negatives(hard, self.train_split) if hard else frozenset()
        self.manifest = self._manifest()
        self.state = RunState(state.replace(RUN, self.manifest.fingerprint), recipe.name, recipe.keep_last)

    def go(self) -> None:
        """Train unless that is done, and write the artifact.

        The main process alone reads and writes the state and the output: to others, on other nodes, they may be out of
        reach.
        """
        with self.state.held(self._notify) if self.processes.main else nullcontext():
            if self.processes.main:
                self._notify(self.state.claim(self.manifest))
            log = EpochLog(self.output / LOG_FILE) if self.processes.main else EpochLog(None)
            lines = self.processes.from_main(self.state.finished)
            if lines is None:
                self._train(log)
            else:
                self._notify(f"{self.recipe.name} is trained already: {self.state.uri}")
                log.restore(lines)
            if self.processes.main:
                if lines is None:
                    self.state.finish(log.lines)
                write_artifact(self.output, self.recipe, self.state, log.lines, self.upload)
                self.state.discard_steps()
            self.processes.gather(None)

    def _train(self, log: EpochLog) -> None:
        # Before the seeds are set, and not between two steps: libraries may draw numbers while they are imported.
        import_now(self.task.training_samples, self.task.validate, self.family.network, self.family.loss)
        prepare(self.recipe, self.processes.rank)
        checkpoint = self.processes.from_main(self.state.latest)
        network = self.network(starting=checkpoint is None)
        trainer = Trainer(self.recipe, self.parts(network), self.state, log, self.processes, self.termination)
        if checkpoint is not None:
            trainer.restore(checkpoint)
            self._notify(f"{self.recipe.name} goes on after step {trainer.done}: {self.state.uri}")
        trainer.run()

    def network(self, starting: bool) -> nn.Module:
        """Build the network; read weights to start from unless a checkpoint of the run itself follows."""
        recipe, device = self.recipe, self.processes.device
        network: nn.Module = self.family.build(
            recipe.parsed_model, recipe.input, self.index.spec.classes, pretrained=starting and self.base is None
        )
        if starting and self.base is not None:
            left = load_base(network, self.base, self.family, self.spec, self.inputs.dataset)
            self._notify("\n  ".join([f"starting from {self.base}", *left]))
        if self.processes.world > 1:
            network = synchronize(network, device)
        network = network.to(device)
        return network.to(memory_format=torch.channels_last) if recipe.channels_last else network

    def parts(self, network: nn.Module) -> Parts:
        """Return what the loop needs beside the recipe, for a network that is on the device."""
        recipe, device = self.recipe, self.processes.device
        reader = ShardReader(self.index.shards, self.inputs.cache)
        samples = self._samples(reader)
        count = recipe.parsed_sampling.samples_per_epoch or len(samples.weights)
        steps = steps_per_epoch(count, recipe.batch_size, recipe.accumulate)
        batches = EpochBatches(
            samples.weights,
            seed=recipe.seed,
            batch_size=recipe.batch_size,
            batches=steps * recipe.accumulate,
            rank=self.processes.rank,
            world=self.processes.world,
        )
        return Parts(
            network=network,
            normalize=Normalize(recipe.input).to(device),
            criterion=self.family.loss(recipe.parsed_loss).to(device),
            loader=build_loader(samples, batches, recipe, device),
            batches=batches,
            steps=steps,
            validate=self._validation(reader),
            describe=self._description(),
        )

    def _samples(self, reader: ShardReader) -> TrainingSamples:
        recipe = self.recipe
        return self.task.training_samples(
            TrainingRequest(
                index=self.train_split,
                reader=reader,
                hard_negatives=self.hard,
                input=recipe.input,
                clips=self.family.clips,
                policy=recipe.policy,
                sampling=recipe.parsed_sampling,
            )
        )

    def _validation(self, reader: ShardReader) -> Validate:
        """Return the function that validates a network on the val split."""
        recipe, device, index = self.recipe, self.processes.device, self.index.where(split="val")
        ceiling = recipe.monitor.max_authentic_fpr

        def validate(network: nn.Module) -> dict[str, float] | None:
            return self.task.validate(
                ValidationRequest(
                    network=network,
                    index=index,
                    reader=reader,
                    input=recipe.input,
                    clips=self.family.clips,
                    device=device,
                    batch_size=recipe.validate_batch_size,
                    precision="bf16" if choose_precision(recipe.precision, device) == "bf16" else "fp32",
                    max_authentic_fpr=1.0 if ceiling is None else ceiling,
                    workers=max(1, processors() // self.processes.local),
                    rank=self.processes.rank,
                    world=self.processes.world,
                    gather=self.processes.gather_on_main,
                )
            )

        return validate

    def _description(self) -> Checkpoint:
        recipe = self.recipe
        return Checkpoint(
            epoch=0,
            model_state_dict={},
            recipe=recipe.to_json(),
            model_type=self.family.name,
            model_settings=recipe.parsed_model.to_json(),
            class_names=list(self.index.spec.classes),
            spec=self.spec.to_json(),
            spec_sha256=self.spec.digest,
            dataset_sha256=self.index.sha256,
            git_sha=git_sha(),
            member=recipe.member,
            stage=recipe.stage,
        )

    def _manifest(self) -> Manifest:
        hard = hashlib.sha256("\n".join(sorted(self.hard)).encode()).hexdigest() if self.hard else ""
        return Manifest(
            recipe=self.recipe.model_dump(mode="json"),
            inputs={
                "dataset": self.index.sha256,
                "base": sha256_file(self.base) if self.base else "",
                "hard_negatives": hard,
            },
            places={
                "dataset": str(self.inputs.dataset),
                "base": str(self.base or ""),
                "hard_negatives": str(self.inputs.hard_negatives or ""),
            },
            threads=torch.get_num_threads(),
        )

    def _notify(self, text: str) -> None:
        if text and self.processes.main:
            sys.stderr.write(f"{text}\n")


def build_loader(
    samples: TrainingSamples, batches: EpochBatches, recipe: TrainRecipe, device: torch.device
) -> "DataLoader[object]":
    """Return the loader of a process's batches."""
    workers = recipe.workers
    return DataLoader(
        samples.dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=samples.collate,
        worker_init_fn=leave_to_parent,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        prefetch_factor=recipe.prefetch if workers else None,
        # Its own generator: every start of an iteration draws from it, and the global one must not depend on that.
        generator=torch.Generator(),
    )
