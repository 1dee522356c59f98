"""open_clip's training command, unchanged but for a sample shuffle that is seeded, so that a run can be repeated.

    python -m sclip_plugin.commands.study.stock <the arguments of open_clip_train.main>

webdataset seeds its shuffle from process id and time: two stock runs with one `--seed` differ. A study must give the
same table again, so its arms without the plugin's loss (whose loader is seeded) run through this module.
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
    seed_shuffles()
    runpy.run_module("open_clip_train.main", run_name="__main__", alter_sys=True)
