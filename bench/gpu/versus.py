# Our kernels beside PyTorch on one card in one run: every case of cases.txt by both sides, one after the other, in turns who is
# first, with clocks and power per case, a matrix product and a copy as ceilings. Time-boxed; stops where the time ends.
# Reader: whoever has a card for a short while. docs/measurements/benchmarks.md says how to prepare and what to do with the results.
#   python3 bench/gpu/versus.py OUT --seconds 290 [--filter WORDS] [--ours PROGRAM] [--require] [--dry-run]
import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "hardware"))
from session import BACK, FRONT, ROOT, Run, as_row, describe_machine  # noqa: E402

CASES = os.path.join(HERE, "cases.txt")
PROGRAM = os.path.join(ROOT, "build", "gpu", "bench", "kernel_times")
IMAGES = os.path.join(ROOT, "build", "gpu", "kernels")
YARDSTICKS = os.path.join(ROOT, "bench", "hardware", "yardsticks.py")
START = 120  # seconds that a side may take to its first row; a cold disk takes long to give PyTorch
CASE = 75  # and to any other case; masks are compiled


def read_cases(wanted):
    with open(CASES) as file:
        lines = [line.strip() for line in file]
    return [line for line in lines if line and not line.startswith("#") and wanted in line]


class Side:
    """A program that takes cases by its input and answers with rows, the last of them "done". Started again after a death."""

    def __init__(self, run, name, command):
        self.run, self.name, self.command = run, name, command
        self.left_out = ""  # why it has nothing to say
        self.start()

    def start(self):
        self.isNew = True
        self.rows = queue.Queue()
        try:
            self.child = self.run.start(self.command, FRONT, stdin=subprocess.PIPE)
        except OSError as error:
            self.left_out = str(error)
            return
        threading.Thread(target=self.read, args=[self.child, self.rows], daemon=True).start()

    def read(self, child, rows):
        for line in child.stdout:
            self.run.log.write(f"{self.name} | {line}")
            row = as_row(line)
            if row is None and line.startswith("left out"):
                self.left_out = line.strip()
            if row is not None:
                rows.put(row)
        rows.put(None)

    def ask(self, line):
        """The rows that answer a case; a refusal where there is no answer."""
        if self.left_out:
            return []
        found, end = [], min(self.run.end, time.monotonic() + (START if self.isNew else CASE))
        try:
            self.child.stdin.write(line + "\n")
            self.child.stdin.flush()
            while True:
                row = self.rows.get(timeout=max(0.1, end - time.monotonic()))
                if row is None:
                    raise OSError(f"ended with {self.child.wait()}")
                if row["group"] == "done":
                    self.isNew = False
                    return found
                found.append(row)
        except (OSError, queue.Empty) as error:
            if self.left_out:
                return found
            self.run.stop(self.child)
            reason = str(error) or "no answer in time"
            if self.isNew and not found:
                self.left_out = f"does not start: {reason}"
            else:
                self.start()
            return [*found, {"group": "refused", "by": self.name, "case": line, "reason": reason}]


def measure(run, cases, ours, theirs):
    for index, line in enumerate(cases):
        if run.end - time.monotonic() < 3:
            run.result["rows"].append({"group": "stopped", "reason": "deadline", "next": line})
            return
        step = {"name": line, "begin": run.second()}
        for side in [ours, theirs] if index % 2 == 0 else [theirs, ours]:
            rows = side.ask(line)
            run.result["rows"] += [{"step": line, **row} for row in rows]
        step["seconds"] = round(run.second() - step["begin"], 1)
        run.result["steps"].append(step)
        times = [f"{row.get('backend', row['group'])} {row['ms']:.3f} ms" for row in run.result["rows"] if row.get("step") == line and "ms" in row]
        run.say(f"{line}: {', '.join(times) or 'nothing'}")
        run.save()
        if ours.left_out and theirs.left_out:
            return


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", help="a folder for results.json and log.txt")
    parser.add_argument("--seconds", type=float, default=290, help="for everything together")
    parser.add_argument("--filter", default="", help="cases whose line contains this")
    parser.add_argument("--ours", default=PROGRAM, help="another build of kernel_times")
    parser.add_argument("--images", default=IMAGES, help="a folder of kernel images")
    parser.add_argument("--require", action="store_true", help="no GPU is an error")
    parser.add_argument("--dry-run", action="store_true", help="say what would be measured, measure nothing")
    options = parser.parse_args()
    cases = read_cases(options.filter)
    if options.dry_run:
        print("\n".join(cases))
        return
    run = Run(os.path.abspath(options.out), options.seconds)
    theirs = Side(run, "torch", [sys.executable, YARDSTICKS, "serve"])
    ours = Side(run, "tilewise", [os.path.abspath(options.ours), os.path.abspath(options.images), "-", "1e9"])
    threading.Thread(target=run.sample, daemon=True).start()
    run.result["machine"] = describe_machine()
    measure(run, cases, ours, theirs)
    for child in run.children:
        run.stop(child)
    for side in [ours, theirs]:
        if side.left_out:
            run.say(f"{side.name}: {side.left_out}")
    run.result["leftOut"] = {side.name: side.left_out for side in [ours, theirs] if side.left_out}
    run.save()
    count = sum("ms" in row for row in run.result["rows"])
    run.say(f"{count} measurements in {run.out}" if count else "nothing measured")
    os._exit(1 if options.require and ours.left_out else 0)


main()
