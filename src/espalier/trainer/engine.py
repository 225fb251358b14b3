"""One optimiser step and everything it touches: devices, precision, accumulation, clipping, averaged weights, state."""

from __future__ import annotations

import copy
import gc
import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from espalier.errors import MemoryExhaustedError, Problem
from espalier.layers.ema import Ema
from espalier.layers.model import Batch, TrainableModel
from espalier.layers.recompute import statistics_kept
from espalier.spec.training import TrainSpec
from espalier.trainer import state as packing
from espalier.trainer.batch_size import doubled, halve_until_fits, split
from espalier.trainer.checkpoint import TrainerState, load_weights
from espalier.trainer.devices import free_cached_memory, is_out_of_memory, leave_group, make_fabric
from espalier.trainer.optimisers import freeze, make_optimiser, set_rate
from espalier.trainer.recompute import recompute_activations
from espalier.trainer.sharding import all_finite, whole


class Engine:
    """A model being trained. `parts` is into how many parts a batch is cut so that it fits into memory."""

    def __init__(self, model: TrainableModel, train: TrainSpec, seed: int) -> None:
        self.fabric: Any = make_fabric(train)
        self.train, self.seed, self.parts = train, seed, 1
        self.device: torch.device = self.fabric.device
        self._layout = torch.channels_last if train.channels_last else torch.contiguous_format
        self._frozen = freeze(model, train.freeze)
        if train.activation_checkpointing:
            recompute_activations(model, True)
        self.model = model.to(self.device).to(memory_format=self._layout)
        self._sharded = train.strategy == "fsdp" and self.fabric.world_size > 1
        self._copy = copy.deepcopy(self.model) if self._sharded and self.first_rank else None
        self.ema = Ema(self.model, train.ema_decay) if train.ema_decay else None

    def set_up(self) -> None:
        """Let Fabric wrap the model for its devices and precision, then make the optimiser of what it holds."""
        if self.train.compile:
            self.model.compile()
        self.module = self.fabric.setup_module(_Losses(self.model))
        fused = self.device.type in ("cpu", "cuda") and self.train.precision != "fp16" and not self._sharded
        self.optimiser = make_optimiser(self.model, self.train, fused=fused)
        self._wrapped_optimiser = self.fabric.setup_optimizers(self.optimiser)

    def close(self) -> None:
        """Leave the model as it came, and the other processes.

        What holds on to the group goes first: its threads end only with its last holder.
        """
        if self.train.activation_checkpointing:
            recompute_activations(self.model, False)
        if self.fabric.world_size == 1:
            return
        del self.module, self.optimiser, self._wrapped_optimiser
        gc.collect()
        leave_group()

    @property
    def first_rank(self) -> bool:
        """Is this the process that validates, tells and writes?"""
        return bool(self.fabric.is_global_zero)

    def evaluated(self) -> TrainableModel:
        """The model whose weights are evaluated and kept: the averaged one where there is one. Every rank must ask."""
        if self.ema:
            return self.ema.model
        if self._sharded:
            state = self.model_state()
            if self._copy is not None:
                load_weights(self._copy, state, where="the sharded weights")
        return self._copy or self.model

    def training_mode(self) -> None:
        """Training mode, except for the frozen parts."""
        self.model.train()
        for module in self._frozen:
            module.eval()

    # ---- one step ------------------------------------------------------------------------------------------------

    def step(self, batches: Sequence[Batch], step: int, rate: float) -> dict[str, Tensor]:
        """One optimiser step over `batches`; the mean losses, still on the device.

        A batch that does not fit into memory is cut in half and the step done again. Raises MemoryExhaustedError when
        one item does not fit, or when several devices would have to agree on it.
        """
        set_rate(self.optimiser, rate)
        while (losses := self._gradients_if_they_fit(batches, step)) is None:
            self._make_room(batches[0].size)
        if self.train.clip_norm:
            self.fabric.clip_gradients(
                self.module, self._wrapped_optimiser, max_norm=self.train.clip_norm, error_if_nonfinite=False
            )
        self._wrapped_optimiser.step()
        if self.ema:
            self.ema.update(self.model, step)
        return losses

    def _gradients_if_they_fit(self, batches: Sequence[Batch], step: int) -> dict[str, Tensor] | None:
        try:
            return self._gradients(batches, step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _gradients(self, batches: Sequence[Batch], step: int) -> dict[str, Tensor]:
        self.optimiser.zero_grad(set_to_none=True)
        pieces = [(part, share / len(batches)) for batch in batches for part, share in split(batch, self.parts)]
        sums: dict[str, Tensor] = {}
        for index, (part, weight) in enumerate(pieces):
            self._seed(step, index)
            with self.fabric.no_backward_sync(self.module, enabled=index < len(pieces) - 1):
                losses = self.module(_Sealed(self._placed(part)))
                with self._second_pass():
                    self.fabric.backward(losses["total"] * weight)
            for name, loss in losses.items():
                share = loss.detach() * weight
                sums[name] = sums[name] + share if name in sums else share
        return sums

    def _second_pass(self) -> AbstractContextManager[None]:
        """Activations that are computed again don't count for batch norms: running statistics see each batch once."""
        return statistics_kept(self.model) if self.train.activation_checkpointing else nullcontext()

    def _make_room(self, batch_size: int) -> None:
        if self.fabric.world_size > 1:
            raise MemoryExhaustedError(
                Problem(
                    "train.batch_size",
                    "a batch does not fit into a device's memory",
                    fix="halve train.batch_size, double train.accumulate, and --resume",
                )
            )
        self.optimiser.zero_grad(set_to_none=True)
        free_cached_memory(self.device)
        self.parts = doubled(self.parts, batch_size)

    def _placed(self, batch: Batch) -> Batch:
        moved = batch.to(self.device, non_blocking=True)
        inputs = {n: x.contiguous(memory_format=self._layout) if x.ndim == 4 else x for n, x in moved.inputs.items()}
        return Batch(inputs, moved.targets, moved.names, moved.extra)

    def _seed(self, step: int, index: int) -> None:
        """Whatever a model draws comes from (seed, step, piece, rank): nothing before or beside can shift it."""
        words = np.random.SeedSequence([self.seed, step, index, self.fabric.global_rank]).generate_state(2)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))  # the global state is what models that draw from numpy use

    # ---- does it fit? --------------------------------------------------------------------------------------------

    def probe(self, batch: Batch) -> None:
        """Try the batch forwards and backwards, before anything is wrapped, and cut it until it fits."""
        buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        parts = halve_until_fits(lambda n: self._trial(batch, n), self.parts, batch.size)
        self.parts = self.largest(parts)
        for name, buffer in self.model.named_buffers():
            buffer.copy_(buffers[name])
        free_cached_memory(self.device)

    def _trial(self, batch: Batch, parts: int) -> None:
        free_cached_memory(self.device)
        moments = [torch.empty_like(p) for p in self.model.parameters() if p.requires_grad for _ in range(2)]
        try:
            part, _ = next(split(batch, parts))
            with self.fabric.autocast():
                self.model.losses(self._placed(part))["total"].backward()  # type: ignore[no-untyped-call]
        finally:
            self.model.zero_grad(set_to_none=True)
            del moments

    # ---- state ---------------------------------------------------------------------------------------------------

    def finite(self) -> bool:
        """Is every weight finite, on every rank? Looked at before a checkpoint is written over a good one."""
        return not self.largest(int(not all_finite(self.model.parameters())))

    def model_state(self) -> dict[str, Tensor]:
        """The evaluated weights by name, whole. Every rank must ask."""
        source = self.ema.model if self.ema else self.model
        return {name: whole(tensor) for name, tensor in source.state_dict().items()}

    def trainer_state(self, values: Mapping[str, Any]) -> TrainerState:
        """Everything else, with the loop's own `values`. Every rank must ask."""
        tensors, plain = packing.pack_optimiser(self.model, self.optimiser)
        found = packing.prefixed("optimiser", tensors)
        if self.ema:
            found |= packing.prefixed("weights", self.model.state_dict())
        scaler = dict(self.fabric.strategy.precision.state_dict())
        return TrainerState(found, {**values, "optimiser": plain, "scaler": scaler, "parts": self.parts})

    def restore(self, model_state: Mapping[str, Tensor], trainer_state: TrainerState) -> None:
        """Back to what was saved, bit for bit. Raises ModelError when it is not this model's."""
        tensors, values = trainer_state.tensors, trainer_state.values
        weights = packing.with_prefix("weights", tensors) if self.ema else model_state
        load_weights(self.model, weights, where="trainer.safetensors" if self.ema else "model.safetensors")
        if self.ema:
            load_weights(self.ema.model, model_state, where="model.safetensors")
        packing.unpack_optimiser(
            self.model, self.optimiser, packing.with_prefix("optimiser", tensors), values["optimiser"]
        )
        if values["scaler"]:
            self.fabric.strategy.precision.load_state_dict(values["scaler"])
        self.parts = int(values["parts"])

    # ---- ranks ---------------------------------------------------------------------------------------------------

    def largest(self, value: int) -> int:
        """The largest value of all ranks."""
        if self.fabric.world_size == 1:
            return value
        return int(self._reduced(torch.tensor(value, device=self.device), "max"))

    def means(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean of each value over the ranks."""
        if self.fabric.world_size == 1 or not values:
            return dict(values)
        whole_means = self._reduced(torch.tensor(list(values.values()), device=self.device), "mean")
        return dict(zip(values, whole_means.tolist(), strict=True))

    def _reduced(self, tensor: Tensor, how: str) -> Tensor:
        reduced = self.fabric.all_reduce(tensor, reduce_op=how)
        assert isinstance(reduced, Tensor)
        return reduced


class _Losses(nn.Module):
    """The model as a module whose forward gives the losses, so that wrappers see each training pass."""

    def __init__(self, model: TrainableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, sealed: _Sealed) -> dict[str, Tensor]:
        return self.model.losses(sealed.batch)


class _Sealed:
    """A batch that the framework neither moves nor casts: boxes and counts must keep their precision."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
