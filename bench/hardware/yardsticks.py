# What others reach on the same card in the same run: PyTorch's matrix product, scaled_dot_product_attention through its flash
# and cuDNN backends, one query per head against long caches, and flex_attention with masks.
# Reader: someone who doubts a comparison. Prints a line of JSON per measurement, most wanted first, so that a run that is
# stopped has them; stops by itself before a deadline.
#   python3 yardsticks.py dense|flex --seconds 60 [--compile-only] [--dry-run]
#   python3 yardsticks.py serve                 cases of bench/gpu/cases.txt as they come, a line each; then a row "done"
import argparse
import functools
import json
import sys
import time

from masks import mask_of, square_pairs

TOKENS = 16384  # in a batch, whatever the length, with 2048 / D heads: as usual for attention benchmarks
WIDTH = 2048
LENGTHS = [8192, 2048, 512, 4096, 1024, 16384, 32768]


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["dense", "flex", "serve"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--compile-only", action="store_true", help="leave compiled kernels in the caches, time nothing")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be measured")
    return parser.parse_args()


def emit(**row):
    print(json.dumps(row), flush=True)


def dense_cases():
    """In the order in which they are wanted."""
    yield {"group": "torch matmul", "size": 8192, "dtype": "bfloat16"}
    for dtype, dims, lengths in [("bfloat16", [128, 64, 256], LENGTHS), ("float16", [128, 64], [4096, 16384])]:
        for dim in dims:
            for causal in [False, True]:
                for length in lengths:
                    for backend in ["flash", "cudnn"]:
                        yield {
                            "group": "torch sdpa",
                            "backend": backend,
                            "headDim": dim,
                            "causal": causal,
                            "length": length,
                            "dtype": dtype,
                        }
    for batch in [1, 8]:
        for kv_heads in [4, 32]:
            for length in [4096, 16384, 65536, 262144]:
                for backend in ["flash", "cudnn"]:
                    if 4 * batch * kv_heads * length * 128 <= 20e9:
                        yield {
                            "group": "torch decode",
                            "backend": backend,
                            "headDim": 128,
                            "heads": 32,
                            "kvHeads": kv_heads,
                            "batch": batch,
                            "length": length,
                            "dtype": "bfloat16",
                        }
    yield {"group": "torch matmul", "size": 4096, "dtype": "bfloat16"}
    yield {"group": "torch matmul", "size": 8192, "dtype": "float16"}


def cases_of(line):
    """What a line of bench/gpu/cases.txt asks for, from everyone who can do it."""
    words = dict(word.split("=") for word in line.split())
    number = lambda name, otherwise: int(words.get(name, otherwise))
    if words.get("measure") == "copy":
        return [{"group": "torch copy", "mib": number("mib", 4096)}]
    if words.get("measure") == "matmul":
        return [{"group": "torch matmul", "size": number("size", 8192), "dtype": "bfloat16"}]
    pattern, length, dim = words.get("pattern", "full"), number("keys", 8192), number("dim", 128)
    heads = number("heads", max(1, WIDTH // dim))
    case = {
        "headDim": dim,
        "heads": heads,
        "kvHeads": number("kvHeads", heads),
        "batch": number("batch", max(1, TOKENS // length)),
        "length": length,
        "dtype": words.get("dtype", "bfloat16"),
    }
    if number("queries", length) == 1:
        return [{"group": "torch decode", "backend": backend, **case} for backend in ["flash", "cudnn"]]
    if pattern in ["full", "causal", "hip"]:  # of HiP what it replaces
        case["causal"] = pattern != "full"
        return [{"group": "torch sdpa", "backend": backend, **case} for backend in ["flash", "cudnn"]]
    masks = {
        "window": lambda: f"window {number('window', 1024)}",
        "neighborhood": lambda: f"neighborhood {words['kernel']} of {words['grid']}",
        "s2": lambda: f"s2 {number('block', 64)} {number('local', 16)} {number('stride', 16)}",
    }
    return [{"group": "torch flex", "mask": masks[pattern](), **case}] if pattern in masks else []


def flex_cases():
    for dim in [128, 64]:
        for mask in ["causal", "window 1024", "neighborhood 13x13", "neighborhood 7x7"]:
            yield {"group": "torch flex", "mask": mask, "headDim": dim, "length": 8192, "dtype": "bfloat16"}


class Clock:
    """Medians of events. The queue is filled while the card sleeps, so that a slow host costs the short kernels nothing."""

    def __init__(self, torch):
        self.torch = torch
        self.cache = torch.empty(64 << 20, dtype=torch.int32, device="cuda")  # 256 MiB, several times the L2

    def median(self, call, samples=21, is_cold=False):
        torch = self.torch
        for _ in range(3):
            call()
        pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(samples)]
        torch.cuda.synchronize()
        torch.cuda._sleep(6_000_000)
        for begin, end in pairs:
            if is_cold:
                self.cache.zero_()
            begin.record()
            call()
            end.record()
        torch.cuda.synchronize()
        ms = sorted(begin.elapsed_time(end) for begin, end in pairs)
        return {"ms": ms[samples // 2], "msLeast": ms[0], "msMost": ms[-1], "samples": samples}


def random(torch, dtype, *dims):
    return torch.randn(dims, device="cuda", dtype=getattr(torch, dtype))


def measure_matmul(torch, clock, case):
    n = case["size"]
    a, b = random(torch, case["dtype"], n, n), random(torch, case["dtype"], n, n)
    out = torch.empty_like(a)
    times = clock.median(lambda: torch.mm(a, b, out=out))
    emit(**case, **times, tflops=2 * n**3 / times["ms"] / 1e9)


def measure_copy(torch, clock, case):
    source = torch.empty(case["mib"] << 20, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = clock.median(lambda: target.copy_(source))
    emit(**case, **times, gbps=2 * source.numel() / times["ms"] / 1e6)


def sdpa_with(torch, backend):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kinds = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}

    def call(*operands, **options):
        with sdpa_kernel(kinds[backend]):
            return torch.nn.functional.scaled_dot_product_attention(*operands, **options)

    return call


@functools.lru_cache(maxsize=1)
def operands_of(torch, dtype, length, dim, batch, heads, kv_heads):
    return [random(torch, dtype, batch, n, length, dim) for n in [heads, kv_heads, kv_heads]]


def operands(torch, case):
    dim, length = case["headDim"], case["length"]
    heads = case.get("heads", WIDTH // dim)
    batch = case.get("batch", max(1, TOKENS // length))
    return operands_of(torch, case["dtype"], length, dim, batch, heads, case.get("kvHeads", heads))


def measure_sdpa(torch, clock, case):
    length, dim, causal = case["length"], case["headDim"], case["causal"]
    q, k, v = operands(torch, case)
    attend = sdpa_with(torch, case["backend"])
    is_gqa = q.shape[1] != k.shape[1]
    times = clock.median(lambda: attend(q, k, v, is_causal=causal, enable_gqa=is_gqa))
    flops = 4 * dim * q.shape[0] * q.shape[1] * square_pairs(length, causal)
    emit(**{**case, "heads": q.shape[1], "batch": q.shape[0]}, **times, tflops=flops / times["ms"] / 1e9)


@functools.lru_cache(maxsize=1)
def cache_of(torch, batch, kv_heads, length, dim):
    return [random(torch, "bfloat16", batch, kv_heads, length, dim) for _ in range(2)]


def measure_decode(torch, clock, case):
    batch, heads, kv_heads, dim = (case[name] for name in ["batch", "heads", "kvHeads", "headDim"])
    k, v = cache_of(torch, batch, kv_heads, case["length"], dim)
    q = random(torch, "bfloat16", batch, heads, 1, dim)
    attend = sdpa_with(torch, case["backend"])
    times = clock.median(lambda: attend(q, k, v, enable_gqa=heads != kv_heads), is_cold=True)
    emit(**case, **times, gbps=2 * k.numel() * k.element_size() / times["ms"] / 1e6)


def measure_flex(torch, clock, case, compile_only, state={}):
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    attend = state.setdefault("attend", torch.compile(flex_attention, dynamic=False))
    length, dim = case["length"], case["headDim"]
    mask, pairs = mask_of(torch, case["mask"], length)
    begin = time.perf_counter()
    # A mask for every head is too large unless it is compiled, too.
    varies = case["mask"].startswith("s2")
    make = torch.compile(create_block_mask) if varies else create_block_mask
    blocks = make(mask, None, case["heads"] if varies else None, length, length, device="cuda")
    q, k, v = operands(torch, case)
    attend(q, k, v, block_mask=blocks)
    torch.cuda.synchronize()
    first = time.perf_counter() - begin
    if compile_only:
        return
    times = clock.median(lambda: attend(q, k, v, block_mask=blocks))
    flops = 4 * dim * q.shape[0] * q.shape[1] * pairs
    emit(
        **{**case, "heads": q.shape[1], "batch": q.shape[0]},
        blockSparsity=blocks.sparsity(),
        firstCallSeconds=first,
        **times,
        tflops=flops / times["ms"] / 1e9,
    )


def main():
    options = parse()
    begin = time.monotonic()
    kinds = {"dense": dense_cases, "flex": flex_cases, "serve": lambda: []}
    cases = list(kinds[options.part]())
    if options.dry_run:
        for case in cases:
            emit(**case)
        return
    import torch

    emit(
        group="torch",
        torch=torch.__version__,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        card=torch.cuda.get_device_name(0),
        importSeconds=time.monotonic() - begin,
    )
    torch.manual_seed(1)
    clock = Clock(torch)
    measures = {
        "torch matmul": measure_matmul,
        "torch copy": measure_copy,
        "torch sdpa": measure_sdpa,
        "torch decode": measure_decode,
        "torch flex": functools.partial(measure_flex, compile_only=options.compile_only),
    }

    def measure(case):
        try:
            measures[case["group"]](torch, clock, case)
        except Exception as error:  # what a backend cannot run is a result, too
            emit(**{**case, "group": "refused", "of": case["group"]}, reason=str(error).strip().split("\n")[0][:300])
            return False
        return True

    with torch.no_grad():
        if options.part == "serve":
            for line in map(str.strip, sys.stdin):
                for case in cases_of(line):
                    measure({**case, "case": line})
                emit(group="done", case=line)
            return
        refused = set()
        for case in cases:
            if time.monotonic() - begin > options.seconds:
                emit(group="stopped", reason="deadline", next=case)
                return
            kind = tuple(case.get(name) for name in ["group", "backend", "headDim", "kvHeads", "dtype", "mask"])
            if kind not in refused and not measure(case):
                refused.add(kind)


main()
