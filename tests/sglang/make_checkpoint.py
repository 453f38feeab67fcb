"""Make a tiny mixture-of-experts checkpoint that a real SGLang server loads.

    python make_checkpoint.py FOLDER --arch qwen3_moe|deepseek_v3 [--seed N]

It runs inside SGLang's own environment (torch, transformers, tokenizers) and downloads nothing: the
tokenizer is a byte-level BPE trained on the standard library's sources, the weights are drawn from
a seeded normal distribution.  The model's text is noise; what a test may rely on is the protocol,
the token counts, the prefix cache and that greedy decoding repeats itself.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Reached by name so that this file type-checks where torch and transformers are not installed.
torch = importlib.import_module("torch")
transformers = importlib.import_module("transformers")
tokenizers = importlib.import_module("tokenizers")

CONTEXT_TOKENS = 4096
VOCABULARY = 2048
TRAINING_CHARACTERS = 1_500_000
MARKS = ("<|pad|>", "<|bos|>", "<|eos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")

# One mark a message, content after it; list content is flattened to its text parts.
CHAT_TEMPLATE = """\
{{- '<|bos|>' -}}
{%- if tools %}{{ '<|system|>' }}Tools: {{ tools | tojson }}{% endif -%}
{%- for message in messages -%}
{{- '<|' ~ message.role ~ '|>' -}}
{%- if message.content is string %}{{ message.content }}
{%- elif message.content %}{% for part in message.content %}{{ part.text or '' }}{% endfor %}
{%- endif -%}
{%- if message.tool_calls %}{{ message.tool_calls | tojson }}{% endif -%}
{%- if message.role == 'assistant' %}{{ '<|eos|>' }}{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif -%}
"""


def training_texts() -> Iterator[str]:
    """Yield standard-library sources in name order until enough characters have been given."""
    left = TRAINING_CHARACTERS
    for source in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text = source.read_text(encoding="utf-8", errors="ignore")[:left]
        left -= len(text)
        yield text
        if left <= 0:
            return


def make_tokenizer(folder: Path) -> object:
    """Train the tokenizer, save it in `folder` and return it."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(MARKS),
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    model.train_from_iterator(training_texts(), trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<|pad|>",
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    return tokenizer


def shared_config() -> dict[str, object]:
    """What both architectures have in common: two thin layers, wide-spread random weights."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "moe_intermediate_size": 128,
        "num_experts_per_tok": 4,
        "norm_topk_prob": True,
        "max_position_embeddings": CONTEXT_TOKENS,
        "tie_word_embeddings": False,
        "initializer_range": 0.2,
        "pad_token_id": MARKS.index("<|pad|>"),
        "bos_token_id": MARKS.index("<|bos|>"),
        "eos_token_id": MARKS.index("<|eos|>"),
        "torch_dtype": "bfloat16",
    }


def qwen3_moe_config() -> object:
    """A 16-expert Qwen3-MoE with grouped-query attention."""
    return transformers.Qwen3MoeConfig(
        **shared_config(),
        num_key_value_heads=2,
        head_dim=64,
        num_experts=16,
        decoder_sparse_step=1,
    )


def deepseek_v3_config() -> object:
    """A DeepSeek-V3: latent attention, a shared expert, grouped sigmoid routing.

    SGLang reads `moe_layer_freq`, `topk_method` and `scoring_func`, which published configurations
    carry and the transformers class does not know; its CPU rotary code insists on YaRN scaling.
    """
    return transformers.DeepseekV3Config(
        **shared_config(),
        num_key_value_heads=4,
        n_routed_experts=16,
        n_shared_experts=1,
        n_group=4,
        topk_group=2,
        first_k_dense_replace=1,
        q_lora_rank=128,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        routed_scaling_factor=2.5,
        num_nextn_predict_layers=0,
        moe_layer_freq=1,
        topk_method="noaux_tc",
        scoring_func="sigmoid",
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "original_max_position_embeddings": CONTEXT_TOKENS // 4,
            "beta_fast": 32,
            "beta_slow": 1,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
        },
    )


CONFIGS = {"qwen3_moe": qwen3_moe_config, "deepseek_v3": deepseek_v3_config}


def make_checkpoint(folder: Path, arch: str, seed: int) -> dict[str, object]:
    """Write tokenizer, configuration and weights to `folder`; return what was made."""
    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer(folder)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[arch]()).to(torch.bfloat16)
    model.save_pretrained(folder)
    return {
        "arch": arch,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arch", choices=sorted(CONFIGS), default="qwen3_moe")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(make_checkpoint(options.folder, options.arch, options.seed)))


if __name__ == "__main__":
    main()
