"""What a task asks of the cluster: processor, memory, accelerator, time, credentials and volumes."""

import math
from collections.abc import Callable, Iterable
from typing import Annotated

from kfp import kubernetes
from kfp.dsl import PipelineTask
from pydantic import Field

from components import images
from components.train.recipe import TrainRecipe
from core.processors import OPENMP_VARIABLE
from core.settings import Settings

Place = Callable[..., PipelineTask]

CACHE_PATH = "/cache"
SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108  the mount point PyTorch's loader processes exchange tensors through
Processors = Annotated[str, Field(pattern=r"^\d+(\.\d+)?m?$")]
Quantity = Annotated[str, Field(pattern=r"^\d+(\.\d+)?(m|[KMGT]i?)?$")]

# The launcher's own secret keys, as the environment variables that boto3 reads.
S3_VARIABLES = {
    "accesskey": "AWS_ACCESS_KEY_ID",
    "secretkey": "AWS_SECRET_ACCESS_KEY",
}


class TaskResources(Settings):
    """Limits of one task."""

    cpu: Processors = "4"
    """Processors, requested and at most, as Kubernetes writes them."""
    memory: Quantity = "16Gi"
    """Memory, requested and at most, as Kubernetes writes it."""
    accelerators: int = Field(default=0, ge=0)
    """GPUs; 0 for a task that needs none."""
    timeout_seconds: int = Field(default=24 * 3600, gt=0)
    """The task is stopped after so many seconds."""
    retries: int = Field(default=2, ge=0)
    """How often it is started again after a failure."""
    shared_memory: Quantity = "8Gi"
    """Of tasks with a GPU: what loader processes exchange tensors through."""


class StepResources(Settings):
    """Limits of the tasks of each step."""

    extract: TaskResources = TaskResources()
    """Of each extraction, and of each share of one."""
    train: TaskResources = TaskResources(cpu="8", memory="32Gi", accelerators=1)
    """Of each training; the number of GPUs is that of the training recipe's ``processes``, unless it is 0."""
    sweep: TaskResources = TaskResources(accelerators=1)
    """Of each sweep for hard negatives."""
    evaluate: TaskResources = TaskResources(accelerators=1)
    """Of the evaluation."""
    export: TaskResources = TaskResources(accelerators=1)
    """Of the export."""
    publish: TaskResources = TaskResources(cpu="1", memory="2Gi", timeout_seconds=3600)
    """Of the publication."""


class ClusterSettings(Settings):
    """What the cluster calls things."""

    accelerator: str = "nvidia.com/gpu"
    """The resource that GPUs are asked for as, and the taint that tasks with one tolerate."""
    node_selector: dict[str, str] = {"veriframe/accelerator": "nvidia"}
    """Labels of the nodes that tasks with a GPU run on."""
    s3_secret: str = "veriframe-s3"  # noqa: S105  a Secret's name, not its content
    """Name of the Secret whose keys ``accesskey`` and ``secretkey`` open the store; empty where pods have a role of
    their own that opens it."""
    endpoint: str = ""
    """URL of the S3 server; empty for AWS."""
    region: str = "us-east-1"
    """Of the S3 server."""
    cache_claim: str = "veriframe-shard-cache"
    """Name of the PersistentVolumeClaim for fetched shards; empty for none."""
    cache_gib: float | None = Field(default=None, ge=0)
    """The most that fetched shards may take up in it, GiB; null for 64. Of shards for which there is no room, samples
    are read one by one."""


def apply(task: PipelineTask, resources: TaskResources, cluster: ClusterSettings) -> PipelineTask:
    """Set limits, time, retries, S3 credentials and volumes on a task, and the GPU settings where it asks for one.

    All of these are ignored by local runs; they take effect on a cluster.
    """
    task.set_cpu_limit(resources.cpu).set_memory_limit(resources.memory)
    task.set_cpu_request(resources.cpu).set_memory_request(resources.memory)
    # A limit on processors is a quota, which OpenMP does not see.
    task.set_env_variable(OPENMP_VARIABLE, str(_whole_processors(resources.cpu)))
    if resources.retries:
        task.set_retry(resources.retries, backoff_duration="60s", backoff_factor=2.0, backoff_max_duration="600s")
    kubernetes.set_timeout(task, resources.timeout_seconds)
    if cluster.s3_secret:
        kubernetes.use_secret_as_env(task, secret_name=cluster.s3_secret, secret_key_to_env=S3_VARIABLES)
    task.set_env_variable("AWS_DEFAULT_REGION", cluster.region)
    if cluster.endpoint:
        task.set_env_variable("AWS_ENDPOINT_URL", cluster.endpoint)
    if cluster.cache_claim:
        kubernetes.mount_pvc(task, pvc_name=cluster.cache_claim, mount_path=CACHE_PATH)
        task.set_env_variable("VERIFRAME_CACHE", CACHE_PATH)
    if cluster.cache_gib is not None:
        task.set_env_variable("VERIFRAME_CACHE_GIB", f"{cluster.cache_gib:g}")
    if resources.accelerators:
        _accelerate(task, resources, cluster)
    return task


def _whole_processors(cpu: str) -> int:
    return max(1, math.ceil(float(cpu.removesuffix("m")) / (1000 if cpu.endswith("m") else 1)))


def placer(image: Callable[[str], str], cluster: ClusterSettings) -> Place:
    """Return what gives a task its image and resources.

    Args:
        image: turns a symbolic image name into a full reference.
        cluster: what the cluster calls things.
    """

    def place(task: PipelineTask, resources: TaskResources, symbolic: str = images.TRAINER) -> PipelineTask:
        return apply(task.set_container_image(image(symbolic)), resources, cluster)

    return place


def for_training(resources: TaskResources, recipes: Iterable[TrainRecipe]) -> TaskResources:
    """Return ``resources`` with an accelerator for each process of the largest of the recipes, if there are any."""
    processes = max(recipe.processes for recipe in recipes)
    return resources.model_copy(update={"accelerators": processes}) if resources.accelerators else resources


def _accelerate(task: PipelineTask, resources: TaskResources, cluster: ClusterSettings) -> None:
    task.set_accelerator_type(cluster.accelerator).set_accelerator_limit(resources.accelerators)
    kubernetes.add_toleration(task, key=cluster.accelerator, operator="Exists", effect="NoSchedule")
    for key, value in cluster.node_selector.items():
        kubernetes.add_node_selector(task, label_key=key, label_value=value)
    kubernetes.empty_dir_mount(
        task,
        volume_name="shared-memory",
        mount_path=SHARED_MEMORY_PATH,
        medium="Memory",
        size_limit=resources.shared_memory,
    )
