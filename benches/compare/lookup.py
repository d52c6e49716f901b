"""Looks up rows with PyTorch: the other side of `cargo xtask bench lookup --against torch`.

    python3 lookup.py THREADS

Prints its version, then reads orders from stdin and answers each, all of them lines of JSON
(xtask/src/bench/lookup/torch.rs says what their keys mean). Only PyTorch is needed.
"""

import json
import sys
import time

import torch
from torch import nn

# The values of the table: see xtask/src/bench/lookup/tables.rs.
GOLDEN = 0x9E3779B1
# Values made at a time.
BLOCK = 1 << 22
# Ids that each form of a lookup is tried with, and how often.
TRIED_IDS, TRIALS = 1 << 18, 5

QUANTISED = {
    "int8": (
        torch.ops.quantized.embedding_bag_byte_prepack,
        torch.ops.quantized.embedding_bag_byte_rowwise_offsets,
    ),
    "int4": (
        torch.ops.quantized.embedding_bag_4bit_prepack,
        torch.ops.quantized.embedding_bag_4bit_rowwise_offsets,
    ),
}


def exact_rows(first, n, dim):
    """Rows `first` to `first + n`, f32."""
    places = torch.arange(first * dim, (first + n) * dim)
    words = ((places * GOLDEN) & 0xFFFFFFFF) >> 8
    return (words.float() / 2**23 - 1).view(n, dim)


class Table:
    """A table, packed block by block so that no second copy is needed."""

    def __init__(self, n_rows, dim, values):
        self.dim, self.values = dim, values
        pack = QUANTISED[values][0] if values in QUANTISED else self.as_float
        n = max(BLOCK // dim, 1)
        first = pack(exact_rows(0, min(n, n_rows), dim))
        self.weight = torch.empty(n_rows, first.shape[1], dtype=first.dtype)
        for start in range(0, n_rows, n):
            end = min(start + n, n_rows)
            self.weight[start:end] = pack(exact_rows(start, end - start, dim))

    def as_float(self, rows):
        return rows.to({"f32": torch.float32, "f16": torch.float16}[self.values])

    def lookups(self):
        """Functions that pool ids over offsets, by whether the offsets end with the number of ids."""
        return {last: self.lookup(last) for last in (False, True)}

    def lookup(self, include_last_offset):
        if self.values not in QUANTISED:
            kwargs = {"mode": "sum", "include_last_offset": include_last_offset}
            return nn.EmbeddingBag.from_pretrained(self.weight, **kwargs)
        op, weight = QUANTISED[self.values][1].default, self.weight
        # scale_grad_by_freq, mode 0 (sum), pruned_weights, per_sample_weights, compressed_indices_mapping.
        rest = (False, 0, False, None, None, include_last_offset)
        return lambda ids, offsets: op(weight, ids, offsets, *rest)


class Stream:
    """Batches of ids, and the fastest form to look them up."""

    def __init__(self, table, path, bag, batch):
        with open(path, "rb") as file:
            ids = torch.frombuffer(bytearray(file.read()), dtype=torch.int32)
        self.n_ids = len(ids)
        lookups = table.lookups()
        forms = []
        for dtype in (torch.int64, torch.int32):
            batches = ids.to(dtype).split(bag * batch)
            for last, lookup in lookups.items():
                offsets = torch.arange(0, bag * batch + last, bag, dtype=dtype)
                name = f"{str(dtype).removeprefix('torch.')}{', last offset' if last else ''}"
                forms.append((name, lookup, batches, offsets))
        self.name, self.lookup, self.batches, self.offsets = min(forms, key=self.least_seconds)

    @staticmethod
    def least_seconds(form):
        _, lookup, batches, offsets = form
        tried = batches[: max(TRIED_IDS // len(batches[0]), 1)]
        seconds = []
        for _ in range(TRIALS):
            start = time.perf_counter()
            for ids in tried:
                lookup(ids, offsets)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    def results(self, n_batches):
        """The pooled vectors of the first batches, f32."""
        return torch.cat([self.lookup(ids, self.offsets).float() for ids in self.batches[:n_batches]])

    def go_through(self):
        lookup, offsets = self.lookup, self.offsets
        for ids in self.batches:
            lookup(ids, offsets)

    def rows_per_s(self, seconds):
        self.go_through()
        n, start = 0, time.perf_counter()
        while True:
            self.go_through()
            n += self.n_ids
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                return n / elapsed


class Server:
    """What it holds, and a method for each order."""

    def __init__(self):
        self.held = self.ids = None

    def table(self, **sizes):
        # The old one goes first: both may be too large for the memory.
        self.held = self.ids = None
        self.held = Table(**sizes)
        weight = self.held.weight
        return {"address": weight.data_ptr(), "n_bytes": weight.numel() * weight.element_size()}

    def stream(self, path, bag, batch):
        self.ids = None
        self.ids = Stream(self.held, path, bag, batch)
        return {"form": self.ids.name}

    def results(self, path, n_batches):
        results = self.ids.results(n_batches).flatten()
        torch.from_file(path, shared=True, size=len(results)).copy_(results)
        return {}

    def time(self, seconds):
        return {"rows_per_s": self.ids.rows_per_s(seconds)}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch.set_num_threads(int(sys.argv[1]))
    server = Server()
    print(json.dumps({"version": f"torch {torch.__version__}"}), flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            order = json.loads(line)
            answer = getattr(server, order.pop("do"))(**order)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
