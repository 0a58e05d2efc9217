# Everything that a few minutes on a card are for, in one command: which primitives hold, whether kernels are right, what the
# card's ceilings are, what others reach on it. Steps in order of worth, each with a deadline and all with one; what is known
# is on disk after every step, so that a kill loses one step. Reads clocks and power, and changes nothing.
# Reader: whoever has a card for a short while. docs/hardware.md says how to prepare and what to do with the results.
#   python3 bench/hardware/first-contact.py OUT --seconds 290 [--also build/gpu] [--only NAME] [--dry-run]
import argparse
import dataclasses
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACK = os.path.join(ROOT, "build", "hardware")
TREE = os.path.join(PACK, "tree")
NODE = os.path.join(PACK, "node")
YARDSTICKS = [sys.executable, os.path.join(ROOT, "bench", "hardware", "yardsticks.py")]
# Not always on the PATH where nvcc is.
SANITIZER = [shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer", "--error-exitcode", "9", "--print-limit", "20", "--tool"]
QUERY = "timestamp,name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.draw,power.limit,temperature.gpu,pstate"
# Of 16 or more processors: programs that time the card do not share any with what runs beside them.
FRONT, BACK = "0-7", "8-15"


@dataclasses.dataclass
class Step:
    name: str
    seconds: float
    command: list
    after: str = ""  # a step of the background that has to be over first
    folder: str = ROOT


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
    yield Step("cpu: bench", 120, [NODE, "bench/run.mjs", "--quick", "--filter", "avx512", "--json", result], folder=TREE)


# Compiles while the sanitizers run, whose times mean nothing; what it leaves in the caches, the measurement uses.
COMPILE_FLEX = Step("compile flex", 60, [*YARDSTICKS, "flex", "--seconds", "50", "--compile-only"])
COMPILE_BESIDE = "sanitizer: memcheck"


def as_row(line):
    if not line.startswith("{"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)


def describe_machine():
    processor = output_of("lscpu")
    commit = os.path.join(PACK, "commit.txt")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "kernel": os.uname().release,
        "processors": os.cpu_count(),
        "cpu": next(iter(re.findall(r"Model name:\s*(.*)", processor)), ""),
        "hasAvx512": "avx512f" in processor,
        "nvcc": output_of("nvcc", "--version").split("\n")[-1],
        "card": output_of("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv"),
        "commit": open(commit).read().strip() if os.path.exists(commit) else "",
    }


class Run:
    def __init__(self, out, seconds):
        os.makedirs(out, exist_ok=True)
        self.out, self.begin = out, time.monotonic()
        self.end = self.begin + seconds
        self.lock = threading.RLock()
        self.log = open(os.path.join(out, "log.txt"), "a", buffering=1)
        self.result = {"machine": {}, "steps": [], "rows": [], "samples": []}
        self.children = []
        self.over = {}  # of background steps: an event

    def second(self):
        return round(time.monotonic() - self.begin, 1)

    def say(self, text):
        line = f"[{self.second():6.1f} s] {text}"
        print(line, flush=True)
        self.log.write(line + "\n")

    def save(self):
        with self.lock:
            path = os.path.join(self.out, "results.json")
            with open(path + ".part", "w") as file:
                json.dump(self.result, file)
            os.replace(path + ".part", path)

    def start(self, command, cores, folder=ROOT):
        if shutil.which("taskset") and (os.cpu_count() or 1) >= 16:
            command = ["taskset", "-c", cores, *command]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        child = subprocess.Popen(command, cwd=folder, start_new_session=True, **options)
        self.children.append(child)
        return child

    def stop(self, child):
        if child.poll() is None:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def step(self, step, cores):
        """Runs one program. Its lines of JSON become rows; all it prints goes into the log."""
        if step.after in self.over:
            self.over[step.after].wait(max(0, min(40, self.end - time.monotonic() - 15)))
        left = min(step.seconds, self.end - time.monotonic())
        entry = {"name": step.name, "begin": self.second()}
        with self.lock:
            self.result["steps"].append(entry)
        try:
            if left < 3:
                raise OSError("no time left")
            child = self.start(step.command, cores, step.folder)
        except OSError as error:
            entry["skipped"] = str(error)
            self.say(f"{step.name}: {error}")
            return
        timer = threading.Timer(left, self.stop, [child])
        timer.start()
        lines, rows = [], 0
        for line in child.stdout:
            line = line.rstrip("\n")
            self.log.write(f"{step.name} | {line}\n")
            row = as_row(line)
            if row is None:
                lines = [*lines, line][-200:]
                continue
            rows += 1
            with self.lock:
                self.result["rows"].append({"step": step.name, **row})
        entry.update(rc=child.wait(), seconds=round(self.second() - entry["begin"], 1), rows=rows)
        timer.cancel()
        entry["output"] = lines
        verdicts = [line for line in lines if re.search(r"FAIL|ERROR SUMMARY|\d+ failed|[Ee]rror", line)]
        if entry["rc"] != 0 and not verdicts:
            verdicts = lines
        self.say(f"{step.name}: rc {entry['rc']}, {entry['seconds']} s, {rows} rows {' / '.join(verdicts[-4:])[:300]}")
        self.save()

    def beside(self, steps):
        steps = list(steps)
        self.over.update({step.name: threading.Event() for step in steps})

        def run_all():
            for step in steps:
                self.step(step, BACK)
                self.over[step.name].set()

        thread = threading.Thread(target=run_all, daemon=True)
        thread.start()
        return thread

    def sample(self):
        """Clocks, power and temperature, twice a second."""
        command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits", "-lms", "500"]
        try:
            child = self.start(command, BACK)
        except OSError as error:
            return self.say(f"no samples of the clock: {error}")
        names = QUERY.split(",")
        for line in child.stdout:
            values = [value.strip() for value in line.split(",")]
            if len(values) == len(names):
                with self.lock:
                    self.result["samples"].append({"second": self.second(), **dict(zip(names, values))})


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
