"""The observer of a run's loss: it measures and writes at the steps that the host logs, and only there."""

import logging
from collections.abc import Callable

import torch

from sclip_plugin.diagnostics.measures import keyword_measures, label_measures, trust_measures
from sclip_plugin.diagnostics.signs import Signs
from sclip_plugin.loss.sclip_loss import Observation

Sink = Callable[[dict[str, float], int], None]  # takes {name: value} and the number of the step


class Recorder:
    """Called by `SClipLoss` with each step's tensors; between logged steps it returns at once.

    Args:
        signs: are told the figures of each logged step; their warnings go to the log.
        steps: optimizer steps per epoch, on which the host's numbering rests.
        every: the host's `--log-every-n-steps`.
        accum: calls of the loss per optimizer step.
        rank: this process; the first one writes.
        world_size: ranks that hold rows of one plan (1 where each holds all of them).
    """

    def __init__(
        self, signs: Signs, steps: int, every: int, accum: int = 1, rank: int = 0, world_size: int = 1
    ) -> None:
        self.signs, self.steps, self.every, self.accum = signs, steps, every, accum
        self.rank, self.world_size = rank, world_size
        self.sinks: list[Sink] = []
        self._epoch = self._calls = 0

    def start_epoch(self, epoch: int, sinks: list[Sink]) -> None:
        """Begin to count the steps of an epoch.

        Args:
            epoch: its number; the first is 0.
            sinks: where the figures of its logged steps go.
        """
        self._epoch, self._calls, self.sinks = epoch, 0, sinks

    def __call__(self, seen: Observation) -> None:
        """Count a call of the loss; measure where it ends a step that is logged."""
        self._calls += 1
        number, rest = divmod(self._calls, self.accum)
        if rest:
            return
        step = number - 1
        if (step % self.every == 0 or number == self.steps) and (self.rank == 0 or self.world_size > 1):
            self._record(seen, self.steps * self._epoch + step)

    @torch.no_grad()
    def _record(self, seen: Observation, step: int) -> None:
        plan = seen.plan.detach().float()
        if seen.trust is None:
            found = label_measures(plan, self.world_size)
        else:  # the columns are all pairs, of which a batch cannot use many
            found = trust_measures(plan, seen.trust, self.world_size)
        if seen.candidates is not None and seen.keywords is not None:
            tensors = (seen.candidates, seen.queries, seen.keywords, seen.scale)
            found |= keyword_measures(plan, *tensors, self.world_size)
        if self.rank != 0:
            return
        found["contrastive_loss"] = seen.losses["contrastive_loss"].detach().float()
        values = dict(zip(found, torch.stack(list(found.values())).tolist()))
        for warning in self.signs.after_step(values, plan.shape[1], plan.shape[0] * self.world_size):
            logging.warning(f"sclip_plugin: {warning}")
        shown = {name: value for name, value in values.items() if name not in ("contrastive_loss", "commonest_index")}
        for sink in self.sinks:
            sink(shown, step)

    def validated(self, epoch: int, loss: float | None) -> None:
        """Look at the loss of a validation after `epoch` epochs, None where there is none; warnings go to the log."""
        for warning in self.signs.after_validation(epoch, loss):
            logging.warning(f"sclip_plugin: {warning}")
