"""Submitting a pipeline to a Kubeflow Pipelines server."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kfp import Client
from kfp_server_api import ApiException
from urllib3.exceptions import HTTPError

from core.errors import VeriframeError
from pipelines.finding import DEFAULT
from pipelines.graph import arguments, compile_pipeline
from pipelines.resolution import load_pipeline


class SubmitError(VeriframeError):
    """The server could not be reached or refused the run."""


@dataclass(frozen=True)
class Submission:
    """An accepted run and the page that shows it."""

    run_id: str
    name: str
    url: str


def submit(
    name: str,
    recipe: str | None,
    source: str,
    store: str,
    *,
    host: str,
    namespace: str | None = None,
    members: Sequence[str] = (),
    run_name: str | None = None,
    experiment: str = "veriframe",
    service_account: str | None = None,
    token: str | None = None,
    registry: str | None = None,
    tag: str | None = None,
    overrides: Sequence[str] = (),
) -> Submission:
    """Compile a pipeline and start it on a cluster.

    Args:
        name: a pipeline.
        recipe: a recipe's name or path; None takes the published one.
        source: the ``s3://`` prefix of the input.
        store: the ``s3://`` prefix for shards, training state and releases.
        host: URL of the Kubeflow Pipelines endpoint.
        namespace: the profile's namespace on a multi-user installation.
        members: a subset of the recipe's members; empty for all.
        run_name: shown in the interface; None makes one from recipe and time.
        experiment: the experiment the run is filed under, made when it does not exist.
        service_account: runs the pods.
        token: a bearer token for the endpoint.
        registry: where the images are; None reads the environment.
        tag: the images' tag or digest; None takes the git commit.
        overrides: ``<dotted key>=<value>`` each, laid over the recipe.

    Raises:
        SubmitError: when the server cannot be reached or refuses; the message carries its answer.
    """
    pipeline = load_pipeline(name, recipe, overrides)
    run_name = run_name or f"{_title(name, recipe)} {datetime.now(tz=UTC):%Y-%m-%d %H-%M-%S}"
    parameters = {"source": source, "store": store, **arguments(pipeline.choose(members))}
    with tempfile.TemporaryDirectory() as folder:
        package = compile_pipeline(pipeline, Path(folder) / f"{name}.yaml", registry, tag)
        try:
            client = Client(host=host, namespace=namespace or "kubeflow", existing_token=token)
            result = client.create_run_from_pipeline_package(
                str(package),
                arguments=parameters,
                run_name=run_name,
                experiment_name=experiment,
                namespace=namespace,
                service_account=service_account,
            )
        except ApiException as error:
            raise SubmitError(f"{host} refused the run: {error.status} {error.reason}: {error.body}") from None
        except (HTTPError, OSError) as error:
            raise SubmitError(f"{host} cannot be reached ({error}); check --host and the port-forward") from None
    return Submission(result.run_id, run_name, f"{host.rstrip('/')}/#/runs/details/{result.run_id}")


def _title(name: str, recipe: str | None) -> str:
    return (recipe or f"{name}/{DEFAULT}").replace("/", "-")
