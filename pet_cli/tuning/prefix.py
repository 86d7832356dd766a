"""Prefix tuning: trainable keys and values in front of every attention (Li & Liang, ACL 2021; P-tuning v2, 2022).

No family's forward is written again: transformers' models call their attention through a registry of functions
(`AttentionInterface`), and the one registered here puts the prefix in front and hands on to PyTorch's attention.
Models that do not go through the registry (DeBERTa, MPNet) are refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pet_cli.errors import UserError
from pet_cli.models.base import evaluating
from pet_cli.tuning.frozen import FrozenLearner
from pet_cli.tuning.slots import INITS, check_init, frequent_tokens

_NAME = "pet_prefix"

Attention = Any  # (module, query [B, H, Q, D], key [B, H, K, D], value [B, H, K, D], mask, **options) -> (out, None)


class PrefixLearner(FrozenLearner):
    """Keys and values `[length, heads, head size]` of every attention train.

    They start as noise of the size of the model's own keys and values: a masked LM hardly hears it, while words, which
    Li & Liang found best for GPT-2, cost an untrained prompt ten points on SST-2. With `settings.projection` they are
    a network's output (Li & Liang's reparameterisation), which is folded away when saved.

    Attributes:
        places: the attention modules in the order of their calls; a module that several layers share stands there
            for each of them.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        settings = options["settings"]
        check_init(settings.init, settings.text)
        if settings.length < 1:
            raise UserError(f"tuning.length={settings.length}: must be at least 1.")
        super().__init__(*args, **options)

    def make(self) -> None:
        self.places, keys, values = self._probe()
        self.shapes = [key.shape for key in keys]  # [length, heads, head size] each
        pairs = [part.flatten(1) for pair in zip(keys, values, strict=True) for part in pair]
        start = torch.cat(pairs, dim=1)  # [N, all keys and values]
        self.flat = nn.Parameter(start)
        self.start = start.detach().clone()
        # 1 / (the numbers of a key or value, times their mean square), for every number of the row.
        self.weights = torch.cat([(1 / part.square().sum(1).mean()).expand(part.shape[1]) for part in pairs])
        self.network: nn.Sequential | None = None
        if self.settings.projection:
            last = nn.Linear(self.settings.bottleneck, start.shape[1])
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.inputs = nn.Parameter(torch.randn(len(start), self.settings.bottleneck).to(start))
            first = nn.Linear(self.settings.bottleneck, self.settings.bottleneck)
            self.network = nn.Sequential(first, nn.Tanh(), last).to(start)
            self.flat.requires_grad_(False)

    def prefix(self) -> Tensor:
        """Keys and values of all places, `[length, numbers]`."""
        return self.flat if self.network is None else self.flat + self.network(self.inputs)  # type: ignore[no-any-return]

    def distance(self) -> Tensor:
        return ((self.prefix() - self.start).square() * self.weights).sum()

    def own_parameters(self) -> dict[str, nn.Parameter]:
        if self.network is None:
            return {"prefix": self.flat}
        named = {f"network.{name}": parameter for name, parameter in self.network.named_parameters()}
        return {"inputs": self.inputs, **named}

    def own_parts(self) -> Mapping[str, Tensor]:
        return {"prefix": self.flat if self.network is None else self.prefix().detach()}

    def end(self) -> None:
        """Puts the network's output in its place."""
        if self.network is not None:
            with torch.no_grad():
                self.flat = nn.Parameter(self.prefix().clone())
            self.network = None

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        sizes = [shape.numel() // shape[0] for shape in self.shapes for _ in range(2)]
        parts = self.prefix().split(sizes, dim=1)
        own: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {}
        for number, (module, shape) in enumerate(zip(self.places, self.shapes, strict=True)):
            key, value = (part.reshape(shape).transpose(0, 1) for part in parts[2 * number : 2 * number + 2])
            own.setdefault(module, []).append((key, value))  # [H, N, D]
        calls: dict[nn.Module, int] = {}

        def attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any) -> Any:
            call = calls[module] = calls.get(module, -1) + 1
            front = own[module][call % len(own[module])]
            return _attend(front, module, query, key, value, mask, **options)

        with _attention(self.lm.model, attend):
            yield

    def _probe(self) -> tuple[list[nn.Module], list[Tensor], list[Tensor]]:
        """One forward of the frozen model on words: its attention modules, and `length` keys and values of each.

        Raises:
            UserError: the model's attention does not go through transformers' registry.
        """
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        seen: list[tuple[nn.Module, Tensor, Tensor]] = []

        def record(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any) -> Any:
            seen.append((module, key[0].transpose(0, 1), value[0].transpose(0, 1)))
            return sdpa_attention_forward(module, query, key, value, mask, **options)  # type: ignore[arg-type]

        prompts = self.encoder.encode([dict.fromkeys(self.template.fields, self._words())])
        with torch.no_grad(), evaluating(self.lm.model), _attention(self.lm.model, record):
            self.lm.states(self.lm.collate(prompts))
        if not seen:
            raise UserError(
                f"tuning={self.settings.name}: the attention of {type(self.lm.model).__name__} takes no prefix: it "
                "does not go through transformers' attention interface. Use tuning=soft_prompt, which any model takes."
            )
        if self.lm.family != "masked":  # such a model may run several times; ALBERT's layers share a module
            seen = list({id(one[0]): one for one in reversed(seen)}.values())[::-1]
        modules = [module for module, _, _ in seen]
        if self.settings.init == "random":
            shape = (self.settings.length, *seen[0][1].shape[1:])
            draws = [[torch.randn(shape).to(part) * part.std() for part in pair] for _, *pair in seen]
            return modules, [pair[0] for pair in draws], [pair[1] for pair in draws]
        return modules, [self._some(key) for _, key, _ in seen], [self._some(value) for _, _, value in seen]

    def _some(self, states: Tensor) -> Tensor:
        """As many of the states `[length, ...]` as the prefix is long, from the front, over again where too few."""
        return states[torch.arange(self.settings.length, device=states.device) % len(states)].to(self.lm.model.dtype)

    def _words(self) -> str:
        """The words whose keys and values the prefix starts as."""
        tokenizer, init = self.lm.tokenizer, self.settings.init
        assert init in INITS
        if init == "text":
            return str(self.settings.text)
        frequent = frequent_tokens(tokenizer)
        drawn = [frequent[i] for i in torch.randperm(len(frequent))[: self.settings.length].tolist()]
        words = [tokenizer.decode([index]).strip() for index in drawn]
        return " ".join([*self.verbalizer.flat, *words] if init == "labels" else words)


@contextlib.contextmanager
def _attention(model: Any, function: Attention) -> Iterator[None]:
    """A model whose attention is the given function, within the block."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
    from transformers.utils import logging

    before = model.config._attn_implementation
    AttentionInterface.register(_NAME, function)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # a model that does not go through the registry warns; here it is an error
    try:
        model.set_attn_implementation(_NAME)
        yield
    finally:
        model.set_attn_implementation(before)
        AttentionInterface.register(_NAME, sdpa_attention_forward)  # lets go of what the function holds
        logging.set_verbosity(level)


def _attend(
    front: tuple[Tensor, Tensor],
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **options: Any,
) -> Any:
    """PyTorch's attention over the prefix and the keys; every query sees the whole prefix.

    Args:
        front: keys and values of the prefix, `[heads, length, head size]` each.
        mask: as transformers makes it, `[batch, 1 or heads, queries, keys]`, bool or additive; None masks nothing, or
            in a causal module the future.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    batch, queries, keys = len(query), query.shape[2], key.shape[2]
    own_key, own_value = (part.to(key.dtype).unsqueeze(0).expand(batch, -1, -1, -1) for part in front)
    causal = options.pop("is_causal", None)
    causal = getattr(module, "is_causal", False) if causal is None else causal
    if mask is None and causal and queries > 1:
        mask = torch.ones(queries, keys, dtype=torch.bool, device=key.device).tril(keys - queries)[None, None]
    length = own_key.shape[2]
    if mask is not None:
        visible = mask.new_ones if mask.dtype == torch.bool else mask.new_zeros
        mask = torch.cat([visible((*mask.shape[:-1], length)), mask], dim=-1)
    bias = options.pop("position_bias", None)
    if bias is not None:  # T5's: the prefix stands at no distance
        options["position_bias"] = torch.cat([bias.new_zeros((*bias.shape[:-1], length)), bias], dim=-1)
    return sdpa_attention_forward(
        module,
        query,
        torch.cat([own_key, key], dim=2),
        torch.cat([own_value, value], dim=2),
        mask,
        is_causal=False,
        **options,
    )
