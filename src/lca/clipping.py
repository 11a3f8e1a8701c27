"""What clipping did to the gradients, so that the allocations are of the whole gradient.

While `listened` runs, what clips gradients by their norm, as trainers do with
`torch.nn.utils.clip_grad_norm_`, says by how much; clipping by value cannot be undone.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from .optimizers import LcaOptimizer


class Clipping:
    """The clipping of an optimizer's gradients since its last step."""

    def __init__(self, optimizer: LcaOptimizer) -> None:
        self._optimizer = optimizer
        self.forget()

    def forget(self) -> None:
        """Know of no clipping, as after a step."""
        self.norm: Tensor | None = None
        """Of the gradient before it was clipped."""
        self._optimizer.clip_coefficient = 1.0
        self._clipped: list[tuple[weakref.ref[Tensor], int]] = []

    def check(self) -> None:
        """Forget the clipping of gradients that are gone or zero: no step was made of them.

        Raises `RuntimeError` if something was added to clipped gradients.
        """
        ours = self._ours()
        found = [(gradient(), version) for gradient, version in self._clipped]
        there = [(g, version) for g, version in found if g is not None and id(g) in ours]
        is_changed = any(gradient._version != version for gradient, version in there)
        if is_changed and self._optimizer.clip_coefficient < 1:
            raise RuntimeError("LCA cannot undo the clipping of gradients that changed after it")
        if is_changed or len(there) < len(self._clipped):
            self.forget()

    @contextmanager
    def by_norm(self, gradients: list[Tensor], norm: Tensor, most: float) -> Iterator[None]:
        """Take note that `gradients` of such a norm are scaled, in here, to at most `most`.

        Raises `RuntimeError` if they are a part of the optimizer's, scaled by itself.
        """
        self.check()
        yield
        ours = self._ours()
        scaled = ours.intersection(map(id, gradients))
        norm = torch.as_tensor(norm).detach().double()
        # A step of gradients that are not finite is skipped by whatever scales the loss.
        if not scaled or not norm.isfinite():
            return
        coefficient = (most / (norm + 1e-6)).clamp(max=1.0)
        if scaled != ours and coefficient < 1:
            raise RuntimeError("LCA cannot undo the clipping of a part of the gradients by itself")
        if scaled == ours and self.norm is None:
            self.norm = norm
        self._optimizer.clip_coefficient *= coefficient
        # Others may be clipped along, such as those of a second optimizer.
        self._clipped = [(weakref.ref(g), g._version) for g in gradients if id(g) in ours]

    @contextmanager
    def by_value(self, gradients: list[Tensor]) -> Iterator[None]:
        """Raise `RuntimeError` if `gradients`, to be clipped by value, are the optimizer's."""
        if self._ours().intersection(map(id, gradients)):
            raise RuntimeError("LCA cannot undo clipping by value; clip by norm")
        yield

    def _ours(self) -> set[int]:
        """Return the identities of the optimizer's gradients."""
        held = [p for group in self._optimizer.param_groups for p in group["params"]]
        return set(map(id, _gradients(held)))


@contextmanager
def listened(clipping: Clipping) -> Iterator[None]:
    """Have PyTorch's functions tell what they clip, by whatever name they were imported."""

    def by_norm(
        gradients: list[Tensor], max_norm: float, total_norm: Tensor, *_: object, **__: object
    ) -> AbstractContextManager[None]:
        return clipping.by_norm(gradients, total_norm, max_norm)

    def by_value(gradients: list[Tensor], *_: object, **__: object) -> AbstractContextManager[None]:
        return clipping.by_value(gradients)

    functions = torch.nn.utils.clip_grad
    with (
        _told(functions._clip_grads_with_norm_, by_norm),
        _told(functions.clip_grad_value_, by_value),
    ):
        yield


@contextmanager
def _told(function: Any, tell: Callable[..., AbstractContextManager[None]]) -> Iterator[None]:
    """Have a function of PyTorch that wraps another run within what `tell` returns for its
    arguments, of parameters their gradients: all that import it share what it wraps."""
    (cell,) = function.__closure__
    wrapped = cell.cell_contents

    def telling(parameters: Tensor | Iterable[Tensor], *args: Any, **kwargs: Any) -> Any:
        parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        with tell(_gradients(parameters), *args, **kwargs):
            return wrapped(parameters, *args, **kwargs)

    cell.cell_contents = telling
    try:
        yield
    finally:
        cell.cell_contents = wrapped


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]
