"""open_clip's training command for a study's arms without a `loss`: what open_clip does without the plugin.

    python -m sclip_plugin.commands.study.stock <the arguments of open_clip_train.main>

Two things differ from the command itself. The sample shuffle is seeded: webdataset seeds its own from process id and
time, so that two runs with one `--seed` differ, and a study must give the same table again. And several processes may
train on the CPU, which open_clip's way of making DDP does not allow.
"""

import random
import runpy
import types
from itertools import count


def seed_shuffles() -> None:
    """Let webdataset's shuffles draw from generators that follow from the process's torch seed, one after the other."""
    import torch
    from webdataset import filters

    number = count()

    class Seeded(random.Random):
        def __init__(self, *_time_and_process: object) -> None:
            # in a loader's worker the initial seed differs between workers and follows from --seed
            super().__init__(f"{torch.initial_seed()}/{next(number)}")

    filters.random = types.SimpleNamespace(**{**vars(random), "Random": Seeded})


if __name__ == "__main__":
    from sclip_plugin.host.openclip3_hooks import let_ddp_run_on_cpu

    seed_shuffles()
    let_ddp_run_on_cpu(lambda: True)
    runpy.run_module("open_clip_train.main", run_name="__main__", alter_sys=True)
