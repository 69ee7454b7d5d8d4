"""Training, validation, evaluation and export of the task ``shade``."""

import json

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from bundle.shade import ShadeDecision
from core.files import write_text
from data.index import read_index
from data.labels import is_manipulated
from data.shards import ShardReader
from data.stored import StoredSamples, load_sample
from judging.calibration import EnsembleWeights
from judging.choice import Choice
from judging.members import load_model
from media.view import stack
from models.inputs import Normalize
from tasks.exported import ExportedNetwork
from tasks.task import EvaluationSummary, Fitted, TrainingSamples

DECISION = ShadeDecision(threshold=0.5)


class Thumbs(Dataset):
    """Thumbnails by (row, seed)."""

    def __init__(self, request):
        self.stored = StoredSamples(request.index, request.reader)
        self.views = request.input.views

    def __len__(self):
        return len(self.stored)

    def __getitem__(self, key):
        row = int(key[0])
        sample = self.stored.read(row)
        views = {name: torch.from_numpy(view.cut(sample)) for name, view in self.views.items()}
        label = int(self.stored.label[row])
        return {"views": views, "label": label, "row": row, "sample_id": self.stored.sample_id(row)}


def training_samples(request):
    """Draw every row alike."""
    return TrainingSamples(Thumbs(request), default_collate, np.ones(len(request.index)))


def probabilities(network, input_spec, index, reader, device="cpu", *, normalise=True):
    """Return the probability of each row of an index."""
    network.eval()
    normalize, found = Normalize(input_spec).to(device) if normalise else torch.nn.Identity(), []
    for row in index.rows():
        sample = load_sample(row, reader)
        batch = stack(input_spec.views, [{name: view.cut(sample) for name, view in input_spec.views.items()}])
        with torch.inference_mode():
            inputs = normalize({name: torch.from_numpy(array).to(device) for name, array in batch.items()})
            found.append(torch.sigmoid(network(inputs).float())[0, 0].item())
    return np.array(found)


def figures(labels, found):
    """Return accuracy and false-positive rate at one half."""
    called, manipulated = found >= DECISION.threshold, is_manipulated(labels)
    return {
        "accuracy": float((called == manipulated).mean()),
        "authentic_fpr": float(called[~manipulated].mean()),
    }


def validate(request):
    """Return the figures on val."""
    training = request.network.training
    found = probabilities(request.network, request.input, request.index, request.reader, request.device)
    request.network.train(training)
    return figures(request.index.column("label"), found)


def evaluate(request):
    """Write the figures of each group's first model, and of each bundle's first member, on test."""
    index = read_index(request.datasets[0]).where(split="test")
    reader, groups = ShardReader(index.shards, request.cache), {}
    for name, models in request.models.items():
        loaded = load_model(models[0], "cpu")
        groups[name] = probabilities(loaded.network, loaded.spec.input, index, reader)
    for name, judged in request.bundles.items():
        member = judged.bundle.document.members[0]
        exported = ExportedNetwork(member, judged.networks[member.name])
        groups[name] = probabilities(exported, member.input, index, reader, normalise=False)
    labels = index.column("label")
    ensembles = {name: figures(labels, found) for name, found in groups.items()}
    document = {
        "task": "shade",
        **request.identities,
        "main_dataset": "main",
        "datasets": {"main": {"sha256": index.sha256}},
        "recipe": request.settings.model_dump(mode="json"),
        "groups": {name: {"ensemble": {"datasets": {"main": one}}} for name, one in ensembles.items()},
    }
    write_text(request.output / "metrics.json", json.dumps(document))
    write_text(request.output / "report.html", "<p>shade</p>")
    return EvaluationSummary(ensembles, len(index), 0)


def fit(job):
    """Choose nothing: temperatures 1, equal weights, one half."""
    names = list(job.networks)
    choice = Choice(DECISION, True, "one half", {})
    weights = EnsembleWeights(dict.fromkeys(names, 1 / len(names)), False, "equal")
    return Fitted(dict.fromkeys(names, 1.0), weights, {"ensemble": choice} | dict.fromkeys(names, choice))


class Pictures:
    """Asks networks about the first pictures of val; ``cut`` is the logit of one half."""

    cut = 0.0

    def __init__(self, batch):
        self.batch = batch

    def __call__(self, networks, count):
        return networks["model"]({name: array[:count] for name, array in self.batch.items()})


def probe(job, member, decision, count):
    """Compare on the first pictures of val."""
    views = job.networks[member].spec.input.views
    samples = [load_sample(row, job.reader) for row in job.val.rows()[:count]]
    return Pictures(stack(views, [{name: view.cut(sample) for name, view in views.items()} for sample in samples]))
