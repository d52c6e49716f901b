"""Trains a DLRM with PyTorch: the other side of `cargo xtask bench train --against torch`.

    python3 train.py --version         prints the version of PyTorch and its memory without any data
    python3 train.py WORKLOAD.json     trains as the workload says and prints one line of JSON

The command writes the workload (xtask/src/bench/workload.rs says what its keys mean) and the data file
(xtask/src/bench/data.rs says how it is laid out). Only PyTorch is needed.
"""

import json
import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

ROW_WISE_ADAGRAD_EPS = 1e-10


class OneTable(nn.Module):
    """The tables of all fields as one EmbeddingBag, field below field.

    A table each is slower, by a quarter at batch 128, because every op is then called 26 times.
    """

    def __init__(self, n_rows, dim):
        super().__init__()
        self.n_fields, self.dim = len(n_rows), dim
        self.first_rows = torch.tensor([0, *n_rows[:-1]]).cumsum(0)
        self.table = nn.EmbeddingBag(sum(n_rows), dim, mode="sum", sparse=True, _weight=rows(n_rows, dim))

    def prepare(self, ids):
        """What `forward` takes for ids [n_fields, n]: the rows, sample after sample, and a bag for each."""
        return (ids.t() + self.first_rows).flatten(), torch.arange(ids.numel())

    def forward(self, ids, offsets):
        """The embeddings, [n, n_fields, dim]."""
        return self.table(ids, offsets).view(-1, self.n_fields, self.dim)


class TablePerField(nn.Module):
    """An EmbeddingBag for each field, as facebookresearch/dlrm has them."""

    def __init__(self, n_rows, dim):
        super().__init__()
        values = rows(n_rows, dim).split(n_rows)
        sizes = zip(n_rows, values)
        tables = (nn.EmbeddingBag(n, dim, mode="sum", sparse=True, _weight=v) for n, v in sizes)
        self.tables = nn.ModuleList(tables)

    def prepare(self, ids):
        """What `forward` takes for ids [n_fields, n]: those of each field, and a bag for each sample."""
        return [field.contiguous() for field in ids], torch.arange(ids.shape[1])

    def forward(self, ids, offsets):
        """The embeddings, [n, n_fields, dim]."""
        return torch.stack([table(field, offsets) for table, field in zip(self.tables, ids)], 1)


class Dlrm(nn.Module):
    """Bottom MLP, embeddings, pairwise dot interaction, top MLP. torch.compile was slower."""

    def __init__(self, model, tables):
        super().__init__()
        self.tables = tables
        dim = model["dim"]
        n_vectors = model["n_fields"] + 1
        offset = 0 if model["self_interaction"] else -1
        first, second = torch.tril_indices(n_vectors, n_vectors, offset)
        # Places of the pairs in a flat [n_vectors * n_vectors] matrix of products.
        self.pairs = first * n_vectors + second
        self.bottom = mlp([model["n_dense"], *model["bottom"], dim])
        self.bottom.append(nn.ReLU())
        self.top = mlp([dim + len(self.pairs), *model["top"], 1])

    def forward(self, dense, ids, offsets):
        x = self.bottom(dense)
        embeddings = self.tables(ids, offsets)
        # Under autocast these small products are faster in f32, and then as precise as ours.
        with torch.autocast("cpu", enabled=False):
            vectors = torch.cat([x.float().unsqueeze(1), embeddings], 1)
            products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        z = torch.cat([x.float(), products.index_select(1, self.pairs)], 1)
        return self.top(z).squeeze(1)

    def dense_parameters(self):
        return [*self.bottom.parameters(), *self.top.parameters()]

    def load(self, path):
        """Takes over all parameters: the tables, then weight and bias of each layer."""
        with open(path, "rb") as file:
            values = words(file).view(torch.float32)
        with torch.no_grad():
            for parameter in [*self.tables.parameters(), *self.dense_parameters()]:
                parameter.copy_(values[: parameter.numel()].view_as(parameter))
                values = values[parameter.numel() :]
        assert len(values) == 0, f"{len(values)} values too many in {path}"


class RowWiseAdagrad(torch.optim.Optimizer):
    """Adagrad with one sum for each row, as RWSAdagrad of facebookresearch/dlrm; PyTorch has none."""

    def __init__(self, tables, lr):
        super().__init__(tables, {"lr": lr})
        self.sums = [torch.zeros(len(table)) for table in self.param_groups[0]["params"]]

    @torch.no_grad()
    def step(self):
        lr = self.param_groups[0]["lr"]
        for table, sums in zip(self.param_groups[0]["params"], self.sums):
            gradient = table.grad.coalesce()
            ids, values = gradient.indices()[0], gradient.values()
            sums.index_add_(0, ids, values.pow(2).mean(1))
            root = sums.index_select(0, ids).sqrt_().add_(ROW_WISE_ADAGRAD_EPS)
            table.index_add_(0, ids, values / root.unsqueeze(1), alpha=-lr)


class Trainer:
    """The model, its optimisers, its data and its place in them."""

    def __init__(self, workload):
        kind = {"one": OneTable, "per-field": TablePerField}[workload["their_tables"]]
        tables = kind(workload["n_rows"], workload["model"]["dim"])
        self.batches = read(workload, tables)
        self.batch = workload["batch"]
        self.model = Dlrm(workload["model"], tables)
        sparse = {"sgd": torch.optim.SGD, "row-wise-adagrad": RowWiseAdagrad}[workload["optimizer"]]
        self.optimizers = [
            torch.optim.SGD(self.model.dense_parameters(), lr=workload["lr"]),
            sparse(self.model.tables.parameters(), lr=workload["embedding_lr"]),
        ]
        self.is_bf16 = workload["precision"] == "bf16"
        self.n_steps = 0

    def step(self):
        labels, dense, ids, offsets = self.batches[self.n_steps % len(self.batches)]
        self.n_steps += 1
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.is_bf16):
            logits = self.model(dense, ids, offsets)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def steps(self, n_least, seconds):
        """Takes whole steps, `n_least` and more until `seconds` are over; returns samples per second."""
        first, start = self.n_steps, time.perf_counter()
        while True:
            self.step()
            n, elapsed = self.n_steps - first, time.perf_counter() - start
            if n >= n_least and elapsed >= seconds:
                return n * self.batch / elapsed

    def losses(self, n_steps):
        """Samples per second, and the loss of each step; None where it is not finite."""
        start = time.perf_counter()
        losses = [self.step().item() for _ in range(n_steps)]
        elapsed = time.perf_counter() - start
        losses = [loss if math.isfinite(loss) else None for loss in losses]
        return n_steps * self.batch / elapsed, losses


def rows(n_rows, dim):
    """The rows of all fields, initialised as ours."""
    values = torch.empty(sum(n_rows), dim)
    for field in values.split(n_rows):
        bound = 1 / math.sqrt(len(field))
        field.uniform_(-bound, bound)
    return values


def mlp(widths):
    """Affine layers initialised as ours, ReLU between them."""
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        linear = nn.Linear(n_in, n_out)
        nn.init.normal_(linear.weight, std=math.sqrt(2 / (n_in + n_out)))
        nn.init.normal_(linear.bias, std=math.sqrt(1 / n_out))
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def words(file, n=-1):
    """The next `n` 32-bit words of a file; all that are left for -1."""
    return torch.frombuffer(bytearray(file.read(4 * n if n >= 0 else n)), dtype=torch.int32)


def read(workload, tables):
    """The batches: labels [n], dense features [n, n_dense], ids and offsets as the tables take them."""
    n, n_dense, n_fields = workload["batch"], workload["model"]["n_dense"], len(workload["n_rows"])
    batches = []
    with open(workload["data"], "rb") as file:
        for _ in range(workload["n_batches"]):
            labels = words(file, n).view(torch.float32)
            dense = words(file, n * n_dense).view(torch.float32).view(n, n_dense)
            # 64-bit ids are what EmbeddingBag works with.
            ids = words(file, n * n_fields).view(n_fields, n).long()
            batches.append((labels, dense, *tables.prepare(ids)))
    return batches


def peak_rss_bytes():
    """The largest resident size of this process; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(workload):
    torch.set_num_threads(workload["threads"])
    # Values too small for a normal float slow the processor down.
    torch.set_flush_denormal(True)
    torch.manual_seed(workload["seed"])
    trainer, task, losses = Trainer(workload), workload["task"], []
    if task["kind"] == "time":
        trainer.steps(task["warm_up_steps"], task["warm_up_seconds"])
        samples_per_s = trainer.steps(1, task["seconds"])
    else:
        trainer.model.load(task["params"])
        samples_per_s, losses = trainer.losses(task["n_steps"])
    return {
        "samples_per_s": samples_per_s,
        "peak_rss_bytes": peak_rss_bytes(),
        "losses": losses,
        "threads": torch.get_num_threads(),
    }


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--version":
        # A first backward pass loads what importing does not.
        nn.Linear(1, 1)(torch.ones(1)).sum().backward()
        print(json.dumps({"version": f"torch {torch.__version__}", "idle_rss_bytes": peak_rss_bytes()}))
        return
    with open(sys.argv[1], encoding="utf-8") as file:
        workload = json.load(file)
    print(json.dumps(measure(workload)))


if __name__ == "__main__":
    main()
