# PyTorch's scaled_dot_product_attention on the CPU, driven by bench/suites/peers.mjs: one JSON command per line, one answer each.
# Reader: someone who doubts PyTorch's figures. It times itself, so that neither the pipe nor JSON counts.
import json
import sys
import time

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

state = {}


def mask_of(shape):
    """What a pattern hides, as a mask to add; None without a pattern. The rules of bench/peers/patterns.mjs."""
    pattern = shape.get("pattern")
    if not pattern:
        return None
    if pattern["kind"] == "s2":
        token = torch.arange(shape["keys"])
        block = token // pattern["blockSize"]
        near = block[:, None] - block < pattern["localBlocks"]
        far = [(block + head * pattern["headStep"]) % pattern["vertStride"] == 0 for head in range(shape["heads"])]
        seen = torch.stack([(near | shard) & (token <= token[:, None]) for shard in far])[None]
    elif pattern["kind"] == "documents":
        token = torch.arange(shape["keys"])
        document = torch.repeat_interleave(torch.tensor(pattern["lengths"]))
        seen = ((document == document[:, None]) & (token <= token[:, None]))[None, None]
    elif pattern["kind"] == "windows":
        token = torch.arange(shape["keys"])
        distance = token[:, None] - token
        near = [(distance < recent) | (token < pattern["sinkTokens"]) for recent in pattern["recentTokens"]]
        seen = torch.stack([one & (distance >= 0) for one in near])[None]
    else:
        row, column = (near_on(*axis) for axis in zip(pattern["tokens"], pattern["kernelSize"]))
        seen = (row[:, None, :, None] & column[None, :, None, :]).reshape(1, 1, shape["queries"], shape["keys"])
    mask = torch.zeros(seen.shape, dtype=getattr(torch, shape["dtype"]))
    return mask.masked_fill_(~seen, float("-inf"))


def near_on(length, kernel):
    """[length, length]: which tokens of an axis are in the window of which, shifted inward at the ends."""
    token = torch.arange(length)
    begin = (token - kernel // 2).clamp(0, length - kernel)[:, None]
    return (token >= begin) & (token < begin + kernel)


def attend(query, key, value, shape, mask):
    grouped = shape["heads"] != shape["kvHeads"]
    return sdpa(query, key, value, attn_mask=mask, is_causal=shape["causal"] and mask is None, enable_gqa=grouped)


def prepare(shape, threads, copies):
    torch.set_num_threads(threads)
    dtype = getattr(torch, shape["dtype"])
    generator = torch.Generator().manual_seed(1)

    def operand(tokens, heads):
        dims = (1, heads, tokens, shape["headDim"])
        return torch.randn(dims, generator=generator).to(dtype)

    query = operand(shape["queries"], shape["heads"])
    pairs = [(operand(shape["keys"], shape["kvHeads"]), operand(shape["keys"], shape["kvHeads"])) for _ in range(copies)]
    state.update(query=query, pairs=pairs, turn=0, shape=shape, mask=mask_of(shape))


def run(calls):
    cpu, begin = time.process_time(), time.perf_counter()
    for _ in range(calls):
        key, value = state["pairs"][state["turn"] % len(state["pairs"])]
        state["turn"] += 1
        attend(state["query"], key, value, state["shape"], state["mask"])
    wall = time.perf_counter() - begin
    return {"ms": 1000 * wall / calls, "cpuSeconds": time.process_time() - cpu}


def check(q, k, v, shape):
    """Operands as flat lists in layout bnhd; the output in the same layout."""

    def operand(flat, tokens, heads):
        return torch.tensor(flat).reshape(1, tokens, heads, shape["headDim"]).transpose(1, 2)

    key, value = (operand(x, shape["keys"], shape["kvHeads"]) for x in (k, v))
    out = attend(operand(q, shape["queries"], shape["heads"]), key, value, shape, mask_of(shape))
    return {"y": out.transpose(1, 2).flatten().tolist()}


commands = {"prepare": prepare, "run": run, "check": check}
with torch.inference_mode():
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(commands[command.pop("op")](**command) or {}), flush=True)
