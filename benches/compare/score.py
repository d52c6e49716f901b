"""Scores with a DLRM in eager PyTorch: the other side of `cargo xtask bench score --against torch`.

    python3 score.py --version         prints the version of PyTorch
    python3 score.py WORKLOAD.json     scores as the workload says and prints one line of JSON

The command writes the workload (xtask/src/bench/score/workload.rs says what its keys mean), the parameters
and the data file (xtask/src/bench/data.rs says how it is laid out). Only PyTorch is needed.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

SLICES = 20


class Modules(nn.Module):
    """As people write it."""

    def __init__(self, model, tables, layers):
        super().__init__()
        self.n_fields, self.dim = model["n_fields"], model["dim"]
        self.table = nn.EmbeddingBag.from_pretrained(tables, mode="sum")
        self.pairs = pairs(model)
        n_bottom = len(model["bottom"]) + 1
        self.bottom = nn.Sequential(*mlp(layers[:n_bottom]), nn.ReLU(inplace=True))
        self.top = nn.Sequential(*mlp(layers[n_bottom:]))

    def prepare(self, ids):
        """What `forward` takes for rows [n, n_fields] of the table of all fields."""
        return ids.flatten(), torch.arange(ids.numel())

    def forward(self, dense, ids, offsets):
        x = self.bottom(dense)
        embeddings = self.table(ids, offsets).view(-1, self.n_fields, self.dim)
        vectors = torch.cat([x.unsqueeze(1), embeddings], 1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        z = torch.cat([x, products.index_select(1, self.pairs)], 1)
        return self.top(z).squeeze(1)


class Functions:
    """The same ops, called without modules; `index_select` is faster than EmbeddingBag for single ids."""

    def __init__(self, model, tables, layers):
        self.shape = (-1, model["n_fields"], model["dim"])
        self.table, self.pairs = tables, pairs(model)
        n_bottom = len(model["bottom"]) + 1
        self.bottom, self.top, self.last = layers[:n_bottom], layers[n_bottom:-1], layers[-1]

    def prepare(self, ids):
        return (ids.flatten(),)

    def __call__(self, dense, ids):
        x = dense
        for weight, bias in self.bottom:
            x = F.linear(x, weight, bias).relu_()
        embeddings = self.table.index_select(0, ids).view(self.shape)
        vectors = torch.cat([x.unsqueeze(1), embeddings], 1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        z = torch.cat([x, products.index_select(1, self.pairs)], 1)
        for weight, bias in self.top:
            z = F.linear(z, weight, bias).relu_()
        return F.linear(z, *self.last).squeeze(1)


class Vectors(Functions):
    """For one sample: products of a matrix and a vector."""

    def __call__(self, dense, ids):
        x = dense[0]
        for weight, bias in self.bottom:
            x = torch.addmv(bias, weight, x).relu_()
        vectors = torch.cat([x.unsqueeze(0), self.table.index_select(0, ids)])
        products = torch.mm(vectors, vectors.t()).view(-1)
        z = torch.cat([x, products.index_select(0, self.pairs)])
        for weight, bias in self.top:
            z = torch.addmv(bias, weight, z).relu_()
        weight, bias = self.last
        return torch.addmv(bias, weight, z)


FORMS = {"modules": Modules, "functions": Functions, "vectors": Vectors}


def pairs(model):
    """Places of the pairs in a flat [n_vectors * n_vectors] matrix of products."""
    n_vectors = model["n_fields"] + 1
    offset = 0 if model["self_interaction"] else -1
    first, second = torch.tril_indices(n_vectors, n_vectors, offset)
    return first * n_vectors + second


def mlp(layers):
    """Modules of affine layers with these weights and biases, ReLU between them."""
    modules = []
    for weight, bias in layers:
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight, linear.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        modules += [linear, nn.ReLU(inplace=True)]
    return modules[:-1]


def load(workload):
    """The rows of all fields, and weight and bias of each layer."""
    model = workload["model"]
    with open(workload["params"], "rb") as file:
        values = words(file).view(torch.float32)

    def take(*shape):
        nonlocal values
        n = 1
        for size in shape:
            n *= size
        taken, values = values[:n], values[n:]
        return taken.clone().view(shape)

    tables = take(sum(workload["n_rows"]), model["dim"])
    bottom = [model["n_dense"], *model["bottom"], model["dim"]]
    top = [model["dim"] + len(pairs(model)), *model["top"], 1]
    sizes = [*zip(bottom, bottom[1:]), *zip(top, top[1:])]
    layers = [(take(n_out, n_in), take(n_out)) for n_in, n_out in sizes]
    assert len(values) == 0, f"{len(values)} values too many in {workload['params']}"
    return tables, layers


def words(file, n=-1):
    """The next `n` 32-bit words of a file; all that are left for -1."""
    return torch.frombuffer(bytearray(file.read(4 * n if n >= 0 else n)), dtype=torch.int32)


def read(workload, forward):
    """The batches: dense features [n, n_dense], and the ids as the form takes them."""
    n, n_dense, n_fields = workload["batch"], workload["model"]["n_dense"], len(workload["n_rows"])
    first_rows = torch.tensor([0, *workload["n_rows"][:-1]]).cumsum(0)
    batches = []
    with open(workload["data"], "rb") as file:
        for _ in range(workload["n_batches"]):
            words(file, n)
            dense = words(file, n * n_dense).view(torch.float32).view(n, n_dense)
            # 64-bit ids are what EmbeddingBag works with.
            ids = words(file, n * n_fields).view(n_fields, n).long().t() + first_rows
            batches.append((dense, *forward.prepare(ids)))
    return batches


def slice_us(forward, batches, start, seconds):
    """Microseconds for a batch, and where to go on."""
    i, begin = start, time.perf_counter()
    while True:
        for _ in range(16):
            forward(*batches[i % len(batches)])
            i += 1
        elapsed = time.perf_counter() - begin
        if elapsed >= seconds:
            return elapsed * 1e6 / (i - start), i


@torch.inference_mode()
def measure(workload):
    torch.set_num_threads(workload["threads"])
    # Values too small for a normal float slow the processor down.
    torch.set_flush_denormal(True)
    tables, layers = load(workload)
    forward = FORMS[workload["form"]](workload["model"], tables, layers)
    batches = read(workload, forward)
    logits = [forward(*batch) for batch in batches[: workload["n_checked"]]]
    _, i = slice_us(forward, batches, 0, workload["warm_up_seconds"])
    slices = []
    for _ in range(SLICES):
        us, i = slice_us(forward, batches, i, workload["seconds"] / SLICES)
        slices.append(us)
    return {
        "batch_us": statistics.median(slices),
        "logits": torch.cat(logits).tolist(),
        "threads": torch.get_num_threads(),
    }


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--version":
        print(json.dumps({"version": f"torch {torch.__version__}", "idle_rss_bytes": 0}))
        return
    with open(sys.argv[1], encoding="utf-8") as file:
        workload = json.load(file)
    print(json.dumps(measure(workload)))


if __name__ == "__main__":
    main()
