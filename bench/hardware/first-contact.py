# Everything that a few minutes on a card are for, in one command: which primitives hold, whether kernels are right, what the
# card's ceilings are, what others reach on it. Steps in order of worth, each with a deadline and all with one; what is known
# is on disk after every step, so that a kill loses one step. Reads clocks and power, and changes nothing.
# Reader: whoever has a card for a short while. docs/measurements/hardware.md says how to prepare and what to do with the results.
#   python3 bench/hardware/first-contact.py OUT --seconds 290 [--also build/gpu] [--only NAME] [--dry-run]
import argparse
import gzip
import os
import re
import shutil
import sys
import threading
import time

from session import BACK, FRONT, PACK, ROOT, Run, Step, describe_machine

TREE = os.path.join(PACK, "tree")
NODE = os.path.join(PACK, "node")
YARDSTICKS = [sys.executable, os.path.join(ROOT, "bench", "hardware", "yardsticks.py")]
# Not always on the PATH where nvcc is.
SANITIZER = [shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer", "--error-exitcode", "9", "--print-limit", "20", "--tool"]


def programs(folders):
    for folder in folders:
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            path = os.path.abspath(os.path.join(folder, name))
            if os.path.isfile(path) and os.access(path, os.X_OK):
                yield path


def foreground(also):
    probe = lambda name: os.path.join(PACK, name)
    checks = list(programs(also))
    for path in checks:
        yield Step(f"check: {os.path.basename(path)}", 25, [path])
    if os.path.isdir(os.path.join(TREE, "build", "Release", "kernels")):
        yield Step("library on cuda", 40, [NODE, "bench/hardware/library-checks.mjs", "cuda", "200", "30"], folder=TREE)
    yield Step("attention probe", 45, [probe("attention_probe")])
    yield Step("tensor rates", 30, [probe("tensor_rates")])
    yield Step("memory rates", 30, [probe("memory_rates")])
    yield Step("softmax rates", 20, [probe("softmax_rates")])
    yield Step("yardsticks: dense", 70, [*YARDSTICKS, "dense", "--seconds", "55"], after="read torch")
    for tool in ["memcheck", "racecheck"]:
        yield Step(f"sanitizer: {tool}", 30, [*SANITIZER, tool, probe("attention_probe"), "--small"])
    for path in checks:
        yield Step(f"sanitizer: memcheck of {os.path.basename(path)}", 25, [*SANITIZER, "memcheck", path])
    yield Step("yardsticks: flex", 60, [*YARDSTICKS, "flex", "--seconds", "50"], after="compile flex")


def background(out):
    """One after another beside the foreground, on other processors."""
    # A cold disk takes long to give PyTorch.
    yield Step("read torch", 60, [sys.executable, "-c", "import torch, triton"])
    for path in programs([os.path.join(PACK, "native")]):
        rounds = ["400"] if re.match(r"(loop|plan|select)_checks$", os.path.basename(path)) else []
        yield Step(f"cpu: {os.path.basename(path)}", 30, [path, *rounds])
    yield Step("cpu: library", 35, [NODE, "bench/hardware/library-checks.mjs", "cpu", "400", "30"], folder=TREE)
    result = os.path.join(out, "cpu-bench.json")
    yield Step("cpu: bench", 120, [NODE, "bench/suites/run.mjs", "--quick", "--filter", "avx512", "--json", result], folder=TREE)


# Compiles while the sanitizers run, whose times mean nothing; what it leaves in the caches, the measurement uses.
COMPILE_FLEX = Step("compile flex", 60, [*YARDSTICKS, "flex", "--seconds", "50", "--compile-only"])
COMPILE_BESIDE = "sanitizer: memcheck"


def unpack_node():
    if os.path.exists(NODE + ".gz"):
        with gzip.open(NODE + ".gz") as packed, open(NODE, "wb") as file:
            shutil.copyfileobj(packed, file)
        os.chmod(NODE, 0o755)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", help="a folder for results.json, log.txt and cpu-bench.json")
    parser.add_argument("--seconds", type=float, default=290, help="for everything together")
    parser.add_argument("--also", action="append", default=[], help="run every program in this folder, first of all")
    parser.add_argument("--only", default="", help="steps of the foreground whose name contains this, and none beside")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, run nothing")
    options = parser.parse_args()
    out = os.path.abspath(options.out)
    chosen = [step for step in foreground(options.also) if options.only in step.name]
    if options.dry_run:
        for step in [*chosen, COMPILE_FLEX, *background(out)]:
            print(f"{step.seconds:4} s  {step.name}: {' '.join(step.command)}")
        return
    run = Run(out, options.seconds)
    threading.Thread(target=run.sample, daemon=True).start()
    unpack_node()
    beside = [] if options.only else [run.beside(background(out))]
    run.result["machine"] = describe_machine()
    run.save()
    run.say(run.result["machine"]["card"].replace("\n", " | "))
    for step in chosen:
        if step.name == COMPILE_BESIDE:
            beside.append(run.beside([COMPILE_FLEX]))
        run.step(step, FRONT)
    for thread in beside:
        thread.join(max(0, run.end - time.monotonic()))
    for child in run.children:
        run.stop(child)
    time.sleep(0.2)  # for the readers of what was stopped
    run.save()
    run.say("done")
    os._exit(0)


main()
