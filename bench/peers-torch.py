# PyTorch's scaled_dot_product_attention on the CPU, driven by bench/peers.mjs: one JSON command per line, one answer each.
# Reader: someone who doubts PyTorch's figures. It times itself, so that neither the pipe nor JSON counts.
import json
import sys
import time

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

state = {}


def prepare(shape, threads, copies):
    torch.set_num_threads(threads)
    dtype = getattr(torch, shape["dtype"])
    generator = torch.Generator().manual_seed(1)

    def operand(tokens, heads):
        dims = (1, heads, tokens, shape["headDim"])
        return torch.randn(dims, generator=generator).to(dtype)

    query = operand(shape["queries"], shape["heads"])
    pairs = [(operand(shape["keys"], shape["kvHeads"]), operand(shape["keys"], shape["kvHeads"])) for _ in range(copies)]
    state.update(query=query, pairs=pairs, turn=0, causal=shape["causal"], grouped=shape["heads"] != shape["kvHeads"])


def run(calls):
    cpu, begin = time.process_time(), time.perf_counter()
    for _ in range(calls):
        key, value = state["pairs"][state["turn"] % len(state["pairs"])]
        state["turn"] += 1
        sdpa(state["query"], key, value, is_causal=state["causal"], enable_gqa=state["grouped"])
    wall = time.perf_counter() - begin
    return {"ms": 1000 * wall / calls, "cpuSeconds": time.process_time() - cpu}


def check(q, k, v, shape):
    """Operands as flat lists in layout bnhd; the output in the same layout."""

    def operand(flat, tokens, heads):
        return torch.tensor(flat).reshape(1, tokens, heads, shape["headDim"]).transpose(1, 2)

    key, value = (operand(x, shape["keys"], shape["kvHeads"]) for x in (k, v))
    out = sdpa(operand(q, shape["queries"], shape["heads"]), key, value, is_causal=shape["causal"])
    return {"y": out.transpose(1, 2).flatten().tolist()}


commands = {"prepare": prepare, "run": run, "check": check}
with torch.inference_mode():
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(commands[command.pop("op")](**command) or {}), flush=True)
