"""``veriframe <command> …``: every command line of the project under one name."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

# Imported when asked for: the server's command must not wait for KFP.
COMMANDS = {
    "judge": ("bundle.__main__", ["judge"], "judge one picture or video with a bundle"),
    "verify": ("bundle.__main__", ["verify"], "check the hash of every file of a bundle"),
    "serve": ("serving.__main__", [], "serve a bundle over HTTP"),
    "pipelines": ("pipelines.__main__", [], "compile, run and submit pipelines"),
    "forge": ("media.forging.__main__", [], "make forged pictures with masks from authentic ones"),
    "published": ("models.published", [], "write a checkpoint as the original code loads it"),
    "storage": ("core.storage.__main__", [], "list and copy objects in folders and S3"),
    **{
        step.replace("_", "-"): (f"components.{step}.__main__", [], f"the step {step}, by itself")
        for step in ("extract_frames", "train", "sweep_hard_negatives", "evaluate", "export", "publish")
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the return value is the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in COMMANDS:
        sys.stdout.write("usage: veriframe <command> …\n\n")
        sys.stdout.writelines(f"  {name:22}{text}\n" for name, (_, _, text) in COMMANDS.items())
        return 0 if arguments[:1] in ([], ["--help"], ["-h"]) else 2
    module, leading, _ = COMMANDS[arguments[0]]
    run: Callable[[Sequence[str]], int] = import_module(module).main
    return run([*leading, *arguments[1:]])


if __name__ == "__main__":
    sys.exit(main())
