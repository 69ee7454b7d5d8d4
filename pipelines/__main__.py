"""``python -m pipelines compile | run | submit | recipes | schema``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from core.cli import run as run_command_line
from core.errors import SettingsError
from core.files import write_text
from pipelines import finding, graph, local, submit
from pipelines.resolution import load_pipeline
from pipelines.schema import recipe_schema


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="Compile, run and submit pipelines.")
    commands = parser.add_subparsers(dest="command", required=True)

    compiling = commands.add_parser("compile", help="write build/pipelines/<name>.yaml for one pipeline or all")
    compiling.add_argument("pipeline", nargs="?", help="one pipeline; all when left out")
    compiling.add_argument("--recipe", help="gives the parameters' defaults and the resources")
    compiling.add_argument("--output", type=Path, default=Path("build/pipelines"), help="folder (%(default)s)")

    running = commands.add_parser("run", help="run on this machine")
    running.add_argument("--runner", choices=["subprocess", "docker"], default="subprocess")
    running.add_argument("--workspace", type=Path, help="folder of the run (build/runs/<recipe>)")

    submitting = commands.add_parser("submit", help="run on a cluster")
    submitting.add_argument("--host", required=True, help="URL of the Kubeflow Pipelines endpoint")
    submitting.add_argument("--namespace", help="namespace of the profile, on a multi-user installation")
    submitting.add_argument("--run-name")
    submitting.add_argument("--experiment", default="veriframe")
    submitting.add_argument("--service-account")
    submitting.add_argument("--token-file", type=Path, help="file with a bearer token for the endpoint")

    for command in (running, submitting):
        command.add_argument("pipeline")
        command.add_argument("--recipe", help="a name (see `recipes`) or a YAML file; the published one when left out")
        command.add_argument("--source", required=True, help="folder or s3:// prefix of the pictures or videos")
        command.add_argument(
            "--store",
            required=command is submitting,
            help="folder or s3:// prefix for shards, training state and releases",
        )
        command.add_argument("--members", default="", help="a comma-separated subset of the recipe's members")
    for command in (compiling, submitting):
        command.add_argument("--registry", help="where the images are (VERIFRAME_REGISTRY)")
        command.add_argument("--tag", help="the images' tag or sha256: digest (VERIFRAME_IMAGE_TAG, else git commit)")

    for command in (compiling, running, submitting):
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            dest="overrides",
            help="a key over the recipe's, such as stages.v4.train.optimizer.lr=1e-5; may be repeated",
        )

    describing = commands.add_parser("schema", help="write the JSON Schema of recipes, for editors")
    describing.add_argument("--output", type=Path, help="file; printed when left out")

    commands.add_parser("recipes", help="list the recipes that ship with the project")
    return parser


def _members(arguments: argparse.Namespace) -> list[str]:
    return [name.strip() for name in arguments.members.split(",") if name.strip()]


def _compile(arguments: argparse.Namespace) -> None:
    if arguments.pipeline is None and (arguments.recipe or arguments.overrides):
        raise SettingsError("--recipe and --set are of one pipeline; name it")
    for name in [arguments.pipeline] if arguments.pipeline else finding.pipeline_folders():
        pipeline = load_pipeline(name, arguments.recipe, arguments.overrides)
        path = graph.compile_pipeline(pipeline, arguments.output / f"{name}.yaml", arguments.registry, arguments.tag)
        print(path)


def _run(arguments: argparse.Namespace) -> None:
    name = arguments.recipe or f"{arguments.pipeline}/{finding.DEFAULT}"
    workspace = arguments.workspace or Path("build/runs") / Path(name).with_suffix("").as_posix().strip("/")
    folder = local.run(
        arguments.pipeline,
        arguments.recipe,
        arguments.source,
        workspace,
        store=arguments.store,
        members=_members(arguments),
        runner=arguments.runner,
        overrides=arguments.overrides,
    )
    print(f"artifacts: {folder}")


def _submit(arguments: argparse.Namespace) -> None:
    submission = submit.submit(
        arguments.pipeline,
        arguments.recipe,
        arguments.source,
        arguments.store,
        host=arguments.host,
        namespace=arguments.namespace,
        members=_members(arguments),
        run_name=arguments.run_name,
        experiment=arguments.experiment,
        service_account=arguments.service_account,
        token=arguments.token_file.read_text(encoding="utf-8").strip() if arguments.token_file else None,
        registry=arguments.registry,
        tag=arguments.tag,
        overrides=arguments.overrides,
    )
    print(f"run {submission.name} ({submission.run_id})\n{submission.url}")


def _recipes(_: argparse.Namespace) -> None:
    for name in finding.recipe_names():
        path = finding.recipe_path(name.partition("/")[0], name)
        print(f"{name:24} {finding.load_recipe(path).description}")


def _schema(arguments: argparse.Namespace) -> None:
    text = json.dumps(recipe_schema(), indent=2) + "\n"
    if arguments.output:
        write_text(arguments.output, text)
    else:
        sys.stdout.write(text)


def _dispatch(argv: Sequence[str] | None) -> None:
    arguments = _parser().parse_args(argv)
    commands = {"compile": _compile, "run": _run, "submit": _submit, "recipes": _recipes, "schema": _schema}
    commands[arguments.command](arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the return value is the exit status."""
    return run_command_line(_dispatch, argv)


if __name__ == "__main__":
    sys.exit(main())
