"""Small models of Hugging Face's `transformers`, with random weights, and inputs for them."""

import os
import sys

import torch
from torch import nn

os.environ["HF_HUB_OFFLINE"] = "1"
# fairseq asks for torchaudio and never needs it; beside PyTorch's build for the CPU, the wheel
# cannot be loaded, at which `transformers` would fail.
sys.modules.setdefault("torchaudio", None)

import transformers as hf  # noqa: E402

LAYERS, HEADS, DIM, FFN, VOCABULARY = 2, 4, 32, 48, 40

_SIZES = dict(
    hidden_size=DIM,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    intermediate_size=FFN,
    vocab_size=VOCABULARY,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=None,
)
_GROUPED = _SIZES | {"num_key_value_heads": 2}
_GPT2 = dict(n_embd=DIM, n_layer=LAYERS, n_head=HEADS, vocab_size=VOCABULARY, n_positions=16)
_ENDS = dict(bos_token_id=0, eos_token_id=0)
_T5 = dict(d_model=DIM, d_kv=6, d_ff=FFN, num_layers=LAYERS, num_heads=HEADS, vocab_size=VOCABULARY)
_IMAGES = dict(image_size=8, patch_size=4)
_BERT = _SIZES | {"max_position_embeddings": 16, "pad_token_id": 0}

MODELS = {
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**_GPT2, **_ENDS)),
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**_BERT)),
    "roberta": lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**_BERT)),
    "t5": lambda: hf.T5ForConditionalGeneration(hf.T5Config(**_T5)),
    "gated t5": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(**_T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**_GROUPED, attention_bias=True)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**_GROUPED)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**_GROUPED, head_dim=10)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**_GROUPED)),
    "vit": lambda: hf.ViTForImageClassification(hf.ViTConfig(**_SIZES, **_IMAGES)),
    # Not asked for by name, but each laid out in a way of its own.
    "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**_GROUPED | {"pad_token_id": 0})),
    "gpt_neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**_SIZES)),
    "deberta": lambda: hf.DebertaForMaskedLM(
        hf.DebertaConfig(**_BERT, relative_attention=True, pos_att_type=["c2p", "p2c"])
    ),
    "persimmon": lambda: hf.PersimmonForCausalLM(
        hf.PersimmonConfig(**_SIZES | {"pad_token_id": 0}, qk_layernorm=False)
    ),
    "distilbert": lambda: hf.DistilBertForMaskedLM(
        hf.DistilBertConfig(
            dim=DIM, n_layers=LAYERS, n_heads=HEADS, hidden_dim=FFN, vocab_size=VOCABULARY
        )
    ),
}

UNLIKE_OTHERS = {
    "roberta-head": lambda: hf.XLMRobertaForMaskedLM(hf.XLMRobertaConfig(**_BERT)),
    "electra": lambda: hf.ElectraForPreTraining(hf.ElectraConfig(**_BERT)),
    "modernbert": lambda: hf.ModernBertForMaskedLM(hf.ModernBertConfig(**_BERT)),
    "fnet": lambda: hf.FNetForMaskedLM(hf.FNetConfig(**_BERT)),
    "xlnet": lambda: hf.XLNetLMHeadModel(
        hf.XLNetConfig(d_model=DIM, n_layer=LAYERS, n_head=HEADS, d_inner=FFN, vocab_size=16)
    ),
    "led": lambda: hf.LEDForConditionalGeneration(
        hf.LEDConfig(
            d_model=DIM,
            **{f"{stack}_layers": LAYERS for stack in ("encoder", "decoder")},
            **{f"{stack}_attention_heads": HEADS for stack in ("encoder", "decoder")},
            vocab_size=VOCABULARY,
        )
    ),
}
"""Models that have layers, attentions or outputs of another kind."""


def model(name: str) -> nn.Module:
    """Return a model with weights large enough for every one of them to matter."""
    torch.manual_seed(0)
    made = MODELS[name]().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    return made


def inputs(name: str) -> dict[str, torch.Tensor]:
    """Return what a model's `forward` takes, without labels."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, VOCABULARY, (2, 7), generator=generator)
    if name == "vit":
        return {"pixel_values": torch.randn(2, 3, 8, 8, generator=generator)}
    return {"input_ids": tokens, **({"decoder_input_ids": tokens} if "t5" in name else {})}
