"""What LCA does beside a fairseq training: measure and record its updates."""

from functools import partial
from typing import Any

from fairseq.trainer import Trainer
from omegaconf import DictConfig
from torch import Tensor

from lca import LAGS
from lca.allocation import check_total
from lca.blocks import partition
from lca.optimizers import LcaOptimizer
from lca.recorder import EXTRA_UPDATES, Recorder
from lca.trapezoid import Stride, Strides

from .probe import Copy, Loss, Probe, Trapezoid


class Session:
    """The recorder of a trainer, and what it measures at scheduled updates.

    Of several data-parallel workers the master alone measures and records.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._overflows = 0
        self._before: list[Tensor] | None = None
        self._stride: Stride | None = None
        self.recorder: Recorder | None = None
        self.probe: Probe | None = None
        self.trapezoid: Trapezoid | None = None
        if trainer.is_data_parallel_master:
            self._start()

    @property
    def optimizer(self) -> LcaOptimizer:
        """The optimizer itself, which mixed precision wraps once more."""
        optimizer: LcaOptimizer = self._trainer.optimizer.optimizer
        return optimizer

    @property
    def loss_scale(self) -> float:
        """What the loss, and so the gradients, are multiplied by; 1 but for fp16."""
        scaler = getattr(self._trainer.optimizer, "scaler", None)
        return scaler.loss_scale if scaler else 1.0

    def _start(self) -> None:
        cfg = self._trainer.cfg
        options, seed, blocks = cfg.optimizer, cfg.common.seed, partition(self._trainer._model)
        groups = list(LAGS)
        about = {"precision": _precision(cfg), "seed": seed}
        if options.lca_trapezoid_every:
            self.trapezoid = Trapezoid(self._trainer, blocks, options.lca_trapezoid_tokens)
            groups.append("trapezoid")
            about["trapezoid_tokens"] = self.trapezoid.tokens
        if options.lca_probe_every:
            sizes = options.lca_probe_tokens, options.lca_probe_loss_tokens
            self.probe = Probe(self._trainer, blocks, *sizes)
            groups += [f"probe_{name}" for name in self.probe.batches]
            about["dropout_tokens"] = self.probe.loss_tokens
        self.recorder = Recorder(options.lca_log, blocks, about, groups)

    def resume(self, update: int, state: Stride | None) -> None:
        """Go on after `update` (0: begin), to which the trainer was restored, with the `state` that
        was kept beside it."""
        if not self.recorder:
            return
        self.recorder.resume(update)
        if self.trapezoid:
            cfg = self._trainer.cfg
            every, most = cfg.optimizer.lca_trapezoid_every, cfg.optimization.max_update
            self._strides = Strides(every, most - EXTRA_UPDATES if most else None)
            if state is not None and update > 0:  # and not begun anew from its model
                self._stride = Stride(*state)
            else:
                self._stride = Stride.begin(update, self.optimizer.values())

    def close_part(self) -> Stride | None:
        """Write the rows so far; return the state to be kept beside the trainer's."""
        if self.recorder:
            self.recorder.close_part()
        return self._stride

    def before_update(self) -> None:
        """Keep the parameters if the update that is about to be made will be probed."""
        is_probed = self._is_probed(self._trainer.get_num_updates() + 1)
        self._before = [value.clone() for value in self.optimizer.values()] if is_probed else None

    def count_overflow(self) -> None:
        """Remember a step that fairseq skipped."""
        self._overflows += 1

    def record(self, loss: float, tokens: int, gradient_norm: float) -> None:
        """Measure the update that was just made, if it is due, and add its row to the log.

        `loss` is its batch's in nats per predicted token, of which there are `tokens`.
        """
        if not self.recorder:
            return
        facts = {
            "update": self._trainer.get_num_updates(),
            "loss": loss,
            "learning_rate": self.optimizer.last_lr,
            "gradient_norm": gradient_norm,
            "predicted_tokens": tokens,
            "loss_scale": self.loss_scale,
            "overflows": self._overflows,
        }
        allocations = dict(self.optimizer.allocations)
        ends_stride = self.trapezoid is not None and self._strides.end_at(facts["update"])
        if ends_stride or self._before is not None:
            model = Copy(self._trainer)
            if self._before is not None:
                self._measure(model, self._before, facts, allocations)
            if ends_stride:
                self._end_stride(model, facts, allocations)
        self.recorder.record(facts, allocations)
        self._overflows, self._before = 0, None

    def _measure(
        self,
        model: Copy,
        before: list[Tensor],
        facts: dict[str, Any],
        allocations: dict[str, Tensor],
    ) -> None:
        """Add what the probe finds of this update, which began at the parameters `before`."""
        assert self.probe is not None  # or they would not have been kept
        after = self.optimizer.values()
        check_total(
            allocations["own_batch"],
            self.optimizer.gradients(),
            before,
            after,
            float(self.optimizer.clip_coefficient),
        )
        for name, found in self.probe.integrate(model, before, after).items():
            allocations[f"probe_{name}"] = found.allocation
            for what in ("before", "after", "residual", "intervals"):
                facts[f"probe_{name}/{what}"] = getattr(found, what)
        if facts["update"] == 1:
            facts |= _of_losses("before", self.probe.losses_with_dropout(model, before))
        facts |= _of_losses("after", self.probe.losses_with_dropout(model, after))

    def _end_stride(
        self, model: Copy, facts: dict[str, Any], allocations: dict[str, Tensor]
    ) -> None:
        """Add what the stride did that this update ends, and begin the next."""
        assert self.trapezoid is not None and self._stride is not None  # since `resume`
        update, values = facts["update"], self.optimizer.values()
        measure = partial(self.trapezoid.measure, model)
        found, allocations["trapezoid"] = self._stride.end(update, values, measure)
        facts.update(found)
        self._stride = Stride.begin(update, values)

    def _is_probed(self, update: int) -> bool:
        """Tell whether an update is probed: the first, whose start is the untrained model, and
        every N updates after it (`--lca-probe-every`)."""
        every = self._trainer.cfg.optimizer.lca_probe_every
        return self.probe is not None and (update == 1 or update % every == 0)


def _of_losses(when: str, losses: list[Loss]) -> dict[str, Any]:
    """Return the facts of losses with dropout: their mean over tokens, and that of each batch."""
    nats, tokens = map(sum, zip(*losses, strict=True))
    by_batch = [loss.nats / loss.tokens for loss in losses]
    return {f"dropout/{when}": nats / tokens, f"dropout/{when}_by_batch": by_batch}


def _precision(cfg: DictConfig) -> str:
    return "fp16" if cfg.common.fp16 else "bf16" if cfg.common.bf16 else "fp32"
