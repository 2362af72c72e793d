"""Trains the demonstration CLIP. `python3 train.py --help` lists the options.

Draws the training pictures first (both cores, a few minutes), then trains with
CLIP's symmetric loss. Each picture also meets captions that are wrong by one
attribute; captions that are true of a picture though written for another do not
count as wrong. A second loss asks both towers for the attributes themselves.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

# Each process computes on one core; this has to be set before the libraries load.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy
import torch
from torch import distributed, multiprocessing
from torch.nn import functional

import subjects
from attributes import ATTRIBUTES
from captions import caption
from draw import draw
from model import HALF_SIZE, IMAGE_MEAN, IMAGE_STD, AttributeHeads, Clip
from tokenizer import Tokenizer
from tokenizer import train as train_tokenizer
from unseen import crossing

SEED = 20
FALSE_CAPTIONS = 2
ATTRIBUTE_WEIGHT = 2.0


def training_subject(n):
    return subjects.random_subject(subjects.seeded("train", SEED, n))


def _draw_half_size(n):
    # At the size that the image tower is trained on.
    return numpy.asarray(draw(training_subject(n), f"train/{SEED}/{n}").reduce(2))


def draw_pictures(count, path):
    """All training pictures as uint8 [count, 112, 112, 3], kept in a file."""
    if not path.exists():
        partial = path.with_suffix(".partial")
        pictures = numpy.lib.format.open_memmap(partial, "w+", numpy.uint8, (count, HALF_SIZE, HALF_SIZE, 3))
        with multiprocessing.Pool(os.cpu_count()) as pool:
            for n, picture in enumerate(pool.imap(_draw_half_size, range(count), chunksize=64)):
                pictures[n] = picture
        pictures.flush()
        partial.rename(path)
    return numpy.load(path, mmap_mode="r")


def learn_vocabulary(size=1200, samples=40000):
    rng = subjects.seeded("vocabulary", SEED)
    claims = (subjects.true_claim(subjects.random_subject(rng), rng) for _ in range(samples))
    return train_tokenizer([caption(c, rng) for c in claims], size)


def batch_of(step, part, size, pictures, tokenizer):
    """One batch: picture numbers, caption ids, and both sides' attributes as codes.

    The first `size` captions are true, one for each picture; the false ones follow.
    """
    rng = subjects.seeded("batch", SEED, step, part)
    numbers = sorted(rng.sample(range(pictures), size))
    shown = [training_subject(n) for n in numbers]
    true = [subjects.true_claim(s, rng) for s in shown]
    claims = true + [c for t in true for c in subjects.false_claims(t, rng, FALSE_CAPTIONS)]
    ids = tokenizer.batch([caption(c, rng) for c in claims])
    codes = (torch.tensor([s.codes() for s in side]) for side in (shown, claims))
    return numbers, torch.tensor(ids), *codes


def contrastive_loss(logits, shown, claimed):
    """CLIP's loss over logits [pictures, captions]; the diagonal pairs belong together."""
    n = len(logits)
    also_true = ((claimed == -1) | (claimed == shown.unsqueeze(1))).all(-1)
    left_out = also_true | crossing(shown, claimed)
    left_out[range(n), range(n)] = False
    logits = logits.masked_fill(left_out, -1e4)
    target = torch.arange(n)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits[:, :n].t(), target)) / 2


def normalized(pictures):
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    mean, std = (255 * torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def optimizer_for(parameters, rate):
    decayed = [p for p in parameters if p.ndim > 1]
    plain = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), eps=1e-6)


def share_gradients(parameters):
    """Averages the gradients over all processes."""
    gradients = [p.grad for p in parameters]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(part.view_as(gradient))


def save(model, options):
    """Writes a checkpoint, with the processes' running statistics averaged."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    for name, value in state.items():
        if "running_" in name:
            distributed.all_reduce(value)
            value /= distributed.get_world_size()
    if distributed.get_rank() == 0:
        torch.save(state, options.work / "checkpoint.pt")


def fit(rank, options):
    """One of the training processes; each has its share of every batch."""
    torch.manual_seed(SEED)
    rendezvous = (options.work / "rendezvous").resolve()
    distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=options.processes)
    tokenizer = Tokenizer(options.work / "tokenizer.json")
    pictures = numpy.load(options.work / "pictures.npy", mmap_mode="r")
    model = Clip(len(tokenizer)).to(memory_format=torch.channels_last)
    heads = AttributeHeads([len(values) for values in ATTRIBUTES.values()])
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = optimizer_for(parameters, options.rate)
    began, losses, step = time.time(), [], 0
    while True:
        # The first process holds the clock for all.
        progress = torch.tensor(
            step / options.steps if options.steps else (time.time() - began) / (60 * options.minutes)
        )
        distributed.broadcast(progress, 0)
        if progress >= 1:
            break
        rate = options.rate * min(1, (step + 1) / 100) * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        numbers, ids, shown, claimed = batch_of(
            step, rank, options.batch // options.processes, len(pictures), tokenizer
        )
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.bfloat16):
            image, text = model.image(normalized(pictures[numbers])), model.text(ids)
        image, text = (functional.normalize(e.float(), dim=-1) for e in (image, text))
        loss = contrastive_loss(model.logits(image, text), shown, claimed)
        read = heads.loss(image, shown) + heads.loss(text, claimed)
        total = loss + ATTRIBUTE_WEIGHT * read
        optimizer.zero_grad()
        total.backward()
        share_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            model.log_logit_scale.clamp_(max=math.log(100))
        step += 1
        losses.append((loss.item(), read.item()))
        if step % 50 == 0 and rank == 0:
            mean, scale = numpy.mean(losses[-50:], 0), model.log_logit_scale.exp().item()
            print(
                f"step {step}  {time.time() - began:.0f} s  loss {mean[0]:.3f}  attributes {mean[1]:.3f}"
                f"  logit scale {scale:.1f}",
                flush=True,
            )
        if step % 250 == 0:
            save(model, options)
    save(model, options)
    if rank == 0:
        record = {"steps": step, "seconds": round(time.time() - began), "pictures": len(pictures), "seed": SEED}
        (options.work / "training.json").write_text(json.dumps(record) + "\n")
        print(record)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--work", type=Path, default=Path("build/demo-model"), help="folder for pictures and checkpoints"
    )
    parser.add_argument("--pictures", type=int, default=40000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument(
        "--minutes", type=float, default=28, help="training time, drawing excluded; ignored with --steps"
    )
    parser.add_argument("--steps", type=int, help="number of steps, for an exact repetition")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--bfloat16", action="store_true", help="twice as fast on processors with AVX512_BF16")
    parser.add_argument("--processes", type=int, default=2, help="one core each")
    options = parser.parse_args()

    options.work.mkdir(parents=True, exist_ok=True)
    vocabulary = options.work / "tokenizer.json"
    if not vocabulary.exists():
        contents = json.dumps(learn_vocabulary(), ensure_ascii=False, indent=1)
        vocabulary.write_text(contents + "\n", encoding="utf-8")
    began = time.time()
    pictures = draw_pictures(options.pictures, options.work / "pictures.npy")
    print(f"{len(pictures)} pictures in {time.time() - began:.0f} s", flush=True)
    (options.work / "rendezvous").unlink(missing_ok=True)
    multiprocessing.spawn(fit, (options,), nprocs=options.processes)


if __name__ == "__main__":
    main()
