# A run on a card that is borrowed for minutes: programs with deadlines under one deadline, their rows of JSON, the clocks and
# the power beside them, all of it on disk after every step. Reads clocks and power, and changes nothing.
# Reader: whoever adds a program to first-contact.py or versus.py, which are made of this.
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACK = os.path.join(ROOT, "build", "hardware")
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
    commit = next(filter(os.path.exists, [os.path.join(at, "commit.txt") for at in (ROOT, PACK)]), "")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "kernel": os.uname().release,
        "processors": os.cpu_count(),
        "cpu": next(iter(re.findall(r"Model name:\s*(.*)", processor)), ""),
        "hasAvx512": "avx512f" in processor,
        "nvcc": output_of("nvcc", "--version").split("\n")[-1],
        "card": output_of("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv"),
        "commit": open(commit).read().strip() if commit else "",
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

    def start(self, command, cores, folder=ROOT, stdin=None):
        if shutil.which("taskset") and (os.cpu_count() or 1) >= 16:
            command = ["taskset", "-c", cores, *command]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        child = subprocess.Popen(command, cwd=folder, stdin=stdin, start_new_session=True, **options)
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
