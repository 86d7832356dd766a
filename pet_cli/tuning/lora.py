"""LoRA: low-rank changes of the attention's projections train, the model is frozen (Hu et al., ICLR 2022).

The layers are peft's. They are put into the model for one forward at a time, and saved in peft's own format too.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from pet_cli.base.files import atomic, read_json, write_json
from pet_cli.errors import UserError
from pet_cli.models import places
from pet_cli.tuning.frozen import FrozenLearner, exchanged

_NAME = "default"


class LoraLearner(FrozenLearner):
    """`W + alpha / rank * B A` in place of the weights of `settings.targets`; B starts at 0.

    Targets are the ends of module names, or `linear`: every linear layer of the body. By default they are peft's for
    the type of model (queries and values), or `linear` where peft does not know the type.
    """

    def make(self) -> None:
        from peft import LoraModel
        from peft.tuners.lora import LoraLayer

        if self.settings.rank < 1:
            raise UserError(f"tuning.rank={self.settings.rank}: must be at least 1.")
        self.config = self._config()
        model = self.lm.model
        wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # GPT-2 keeps its weights the other way round, which peft sees itself
                LoraModel(model, {_NAME: self.config}, _NAME)
        except ValueError as error:
            raise UserError(f"tuning={self.settings.name}: {str(error).splitlines()[0]}") from None
        found = model.named_modules()
        layers: list[tuple[str, Any]] = [(path, module) for path, module in found if isinstance(module, LoraLayer)]
        self._places: list[tuple[nn.Module, str, Any]] = []
        self.weights: dict[str, nn.Parameter] = {}
        for path, layer in layers:
            above, _, name = path.rpartition(".")
            owner = model.get_submodule(above)
            setattr(owner, name, layer.get_base_layer())  # out again: it goes in for one forward at a time
            self._places.append((owner, name, layer))
            for own, parameter in layer.named_parameters():
                if own.startswith("lora_"):
                    self.weights[f"base_model.model.{path}.{own.replace(f'.{_NAME}', '')}"] = parameter
        del model.peft_config
        for parameter, gradient in wanted:  # the model is others' too
            parameter.requires_grad_(gradient)

    def _config(self) -> Any:
        from peft import LoraConfig
        from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as known

        targets = self.settings.targets
        if targets is None:
            targets = known.get(self.lm.model.config.model_type, "linear")
        if targets == "linear":
            inside = {id(module) for module in self.lm.model.base_model.modules()}
            targets = [
                path
                for path, module in self.lm.model.named_modules()
                if isinstance(module, nn.Linear) and id(module) in inside
            ]
        return LoraConfig(
            r=self.settings.rank,
            lora_alpha=self.settings.alpha,
            target_modules=[targets] if isinstance(targets, str) else list(targets),
            base_model_name_or_path=places.located(self.lm.name),
        )

    def modules(self) -> list[nn.Module]:
        return [*super().modules(), *(layer for _, _, layer in self._places)]

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        with exchanged(self._places):
            yield

    def own_parameters(self) -> dict[str, nn.Parameter]:
        return self.weights

    def save(self, folder: Path, whole: bool) -> None:
        super().save(folder, whole)
        adapter = folder / "adapter"
        replace(self.config, inference_mode=True).save_pretrained(adapter)
        config = read_json(adapter / "adapter_config.json")  # peft writes a set in any order
        write_json(adapter / "adapter_config.json", {**config, "target_modules": sorted(config["target_modules"])})
        tensors = {name: parameter.detach().cpu().contiguous() for name, parameter in self.weights.items()}
        with atomic(adapter / "adapter_model.safetensors") as temporary:
            save_file(tensors, temporary, metadata={"format": "pt"})
