"""What the modes with trainable vectors at the input share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from pet_cli.base.files import atomic, write_json
from pet_cli.errors import UserError
from pet_cli.models import places
from pet_cli.prompts.batch import Batch
from pet_cli.tuning.frozen import FrozenLearner
from pet_cli.tuning.slots import embedding_scale, initial_vectors


class SoftLearner(FrozenLearner):
    """Vectors of its own in place of the embeddings at the template's soft slots.

    The size of word embeddings differs between models. Learning rates and anchors are in units of it (`scale`), so that
    one setting serves all.

    Attributes:
        vectors: `[slots, embedding]`.
        scale: the root mean square of the embeddings of frequent words.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        slots, most = self.encoder.slots, min(self.lm.positions, self.max_length)
        if slots >= most:
            raise UserError(
                f"template '{self.template.source}' has {slots} trainable tokens: no room for a text in the {most} "
                f"tokens of a prompt (the model takes {self.lm.positions}, trainer.max_length is {self.max_length})."
            )

    def make(self) -> None:
        self.vectors = nn.Parameter(self.initial())
        self.start = self.vectors.detach().clone()
        self.scale = embedding_scale(self.lm)

    def initial(self) -> Tensor:
        """What the vectors start as, `[slots, embedding]`."""
        return initial_vectors(
            self.lm,
            self.encoder,
            self.settings.init,
            self.settings.text,
            self.answers.ids,
        )

    def prompt_vectors(self) -> Tensor:
        """The vectors as they stand, `[slots, embedding]`, for every example alike."""
        return self.vectors

    def embeds(self, batch: Batch) -> Tensor | None:
        if batch.soft is None:
            return None
        looked_up = self.lm.model.get_input_embeddings()(batch.input_ids)  # [B, T, E]
        own = F.embedding(batch.soft.clamp(min=0), self.prompt_vectors()).to(looked_up.dtype)  # [B, T, E]
        return torch.where(batch.soft.unsqueeze(-1) >= 0, own, looked_up)

    def distance(self) -> Tensor:
        return ((self.prompt_vectors() - self.start) / self.scale).square().mean(dim=1).sum()

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        own, *rest = super().parameter_groups(learning_rate)
        groups = [own | {"params": [self.vectors], "lr": learning_rate * self.scale}]
        if network := [parameter for parameter in own["params"] if parameter is not self.vectors]:
            rate = self.settings.network_learning_rate
            groups.append(own | {"params": network, "lr": rate})
        return [*groups, *rest]

    def own_parameters(self) -> dict[str, nn.Parameter]:
        return {"vectors": self.vectors}

    def save(self, folder: Path, whole: bool) -> None:
        super().save(folder, whole)
        if self._as_peft_has_it():
            self._save_adapter(folder / "adapter")

    def _as_peft_has_it(self) -> bool:
        """Whether peft's prompt tuning says the same: plain vectors, in front of everything, on a generative model.

        In a masked LM the prompt stands behind [CLS], and the answer is not a class or a continuation.
        """
        if self.lm.family == "masked" or self.trains_model or getattr(self, "network", None) is not None:
            return False
        if self.in_context is not None:
            return False
        prompt = self.encoder.encode([dict.fromkeys(self.template.fields, "a")])[0]
        return prompt.soft == tuple((slot, slot) for slot in range(self.encoder.slots))

    def _save_adapter(self, folder: Path) -> None:
        """The prompt in peft's format, for `PeftModel.from_pretrained`."""
        encoder_decoder = self.lm.family == "encoder_decoder"
        vectors = self.vectors.detach().cpu().contiguous()
        config = {
            "peft_type": "PROMPT_TUNING",
            "task_type": "SEQ_2_SEQ_LM" if encoder_decoder else "CAUSAL_LM",
            "base_model_name_or_path": places.located(self.lm.name),
            "inference_mode": True,
            "num_virtual_tokens": len(vectors),
            "token_dim": vectors.shape[1],
            "num_transformer_submodules": 1,  # peft would put a prompt before the decoder's input too
            "num_attention_heads": 1,  # peft asks for these two and uses them for prefixes only
            "num_layers": 1,
            "prompt_tuning_init": "RANDOM",
        }
        write_json(folder / "adapter_config.json", config)
        with atomic(folder / "adapter_model.safetensors") as temporary:
            save_file({"prompt_embeddings": vectors}, temporary, metadata={"format": "pt"})
