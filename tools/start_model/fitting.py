"""Training a start model against the clock, on one CPU thread, with CLIP's loss.

Legend: B pictures in a step, L positions in use, D size of the features.
"""

import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from tqdm import tqdm


def encode_text(model: CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """Normalised text features (B, D) of tokens (B, L) shorter than the model's context: the tower is causal."""
    length = tokens.shape[1]
    hidden = model.token_embedding(tokens) + model.positional_embedding[:length]
    hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:length, :length]))
    return F.normalize(hidden[torch.arange(len(tokens)), tokens.argmax(dim=1)] @ model.text_projection, dim=-1)


def step_loss(model: CLIP, images: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """CLIP's loss of one batch, images (B, 3, H, W) in bfloat16, tokens (B, L)."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image = model.visual(images.contiguous(memory_format=torch.channels_last))
        text = encode_text(model, tokens)
    image, text = F.normalize(image.float(), dim=-1), text.float()
    logits = model.logit_scale.exp() * image @ text.T
    target = torch.arange(len(images))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def fit(
    model: CLIP,
    count: int,
    batch_of: Callable[[torch.Tensor, torch.Generator], tuple[torch.Tensor, torch.Tensor]],
    *,
    minutes: float,
    batch: int,
    lr: float,
    seed: int = 0,
) -> None:
    """Train for so many minutes; the learning rate follows the clock (linear warm-up, cosine).

    As in open_clip, biases, gains and the logit scale do not decay.

    Args:
        model: changed in place; in eval mode afterwards.
        count: pictures that there are.
        batch_of: gives the images (B, 3, H, W) and tokens (B, L) of some numbers of pictures (B,); draws from the
            generator.
        minutes: how long.
        batch: B.
        lr: the highest learning rate.
        seed: of the order, and of the generator that `batch_of` gets.

    Raises:
        ValueError: there are fewer pictures than one more than a batch, so that no step could be made.
    """
    if count <= batch:
        raise ValueError(f"{count} pictures are too few for a batch of {batch}")
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)
    generator = torch.Generator().manual_seed(seed)
    start, step, done = time.monotonic(), 0, 0.0
    model.train()
    with tqdm(total=100, desc="train", disable=None) as bar:
        while done < 1:
            for chosen in torch.randperm(count, generator=generator).split(batch)[:-1]:
                done = (time.monotonic() - start) / (60 * minutes)
                for group in optimizer.param_groups:
                    group["lr"] = lr * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * min(1, done)))
                if done >= 1:
                    break
                loss = step_loss(model, *batch_of(chosen, generator))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                model.logit_scale.data.clamp_(0, math.log(100))
                step += 1
                bar.n = int(100 * done)
                if step % 100 == 0:
                    bar.write(f"step {step}: loss {loss.item():.3f}, scale {model.logit_scale.exp().item():.1f}")
    model.eval()
