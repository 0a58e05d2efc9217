# Patterns as flex_attention wants them, code that says which pairs are let through, written from the definitions and not by this
# library; and how many pairs of a head that are. Reader: someone who adds a mask to yardsticks.py.
import math


GRID = (128, 64)  # of 8192 tokens, the rows first


def square_pairs(length, causal):
    return length * (length + 1) / 2 if causal else length * length


def mask_of(torch, name, length):
    """The mask as flex_attention wants it, and how many pairs of a head it lets through."""
    if name == "causal":
        return (lambda b, h, q, k: q >= k), square_pairs(length, True)
    if name.startswith("window"):
        width = int(name.split()[1])
        short = min(width, length)
        return (lambda b, h, q, k: (q >= k) & (q - k < width)), short * (short + 1) / 2 + (length - short) * short
    words = name.split()
    if words[0] == "s2":
        return strided_shards(length, *map(int, words[1:]))
    kernel = [int(n) for n in words[1].split("x")]
    grid = [int(n) for n in words[3].split("x")] if len(words) > 2 else GRID

    def neighborhood(b, h, q, k):
        is_near, step = q >= 0, 1
        for size, tokens in zip(reversed(kernel), reversed(grid)):
            begin = torch.clamp(q // step % tokens - size // 2, 0, tokens - size)
            place = k // step % tokens
            is_near = is_near & (place >= begin) & (place < begin + size)
            step *= tokens
        return is_near

    return neighborhood, length * math.prod(kernel)


def strided_shards(length, block, local, stride):
    """S2: the last `local` blocks, and every so manieth before, from one that moves from head to head; pairs of head 0."""

    def mask(b, h, q, k):
        back = q // block - k // block
        return (q >= k) & ((back < local) | ((k // block + h) % stride == 0))

    def seen(query):
        blocks = range(query // block + 1)
        is_seen = lambda key: query // block - key < local or key % stride == 0
        return sum(block for key in blocks if is_seen(key)) - (block - 1 - query % block)

    return mask, sum(seen(query) for query in range(0, length, block)) * block + length * (block - 1) / 2
