"""What the oracle is asked: tiny models by seed, prompts for SmolLM2, strings for its tokenizer. Data only."""

from __future__ import annotations

from typing import Any

LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

TINY_MODELS: dict[str, dict[str, Any]] = {
    "llama_gqa": {"seed": 1},
    "llama_gqa_tied": {"seed": 1, "tie": True},
    "llama_mha": {"seed": 2, "num_key_value_heads": 4},
    "llama_mqa": {"seed": 3, "num_key_value_heads": 1},
    "llama_head_dim_64": {"seed": 4, "head_dim": 64, "dtype": "float16", "num_hidden_layers": 2},
    "llama_head_dim_80": {"seed": 5, "head_dim": 80, "num_hidden_layers": 2},
    "llama_head_dim_128": {"seed": 6, "head_dim": 128, "dtype": "bfloat16", "num_hidden_layers": 2},
    "llama_rope_llama3": {"seed": 1, "rope_scaling": LLAMA3_SCALING},
    "llama_rope_linear": {"seed": 1, "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "llama_sharded": {"seed": 7, "shards": 3, "num_hidden_layers": 2},
}
"""Golden name -> arguments of `make_tiny_model` (the architecture is LlamaForCausalLM unless given)."""

PHI_DIVISORS = {
    "short_factor": [1.0, 1.1, 1.25, 1.5, 1.75, 2.0],
    "long_factor": [1.0, 1.5, 2.5, 4.0, 6.0, 8.0],
}
"""LongRoPE's divisors for 12 rotated dimensions, three quarters of a head of 16."""

FAMILY_MODELS: dict[str, dict[str, Any]] = {
    "qwen2": {"architecture": "Qwen2ForCausalLM", "seed": 1, "tie": True},
    "qwen2_window": {
        "architecture": "Qwen2ForCausalLM",
        "seed": 2,
        "use_sliding_window": True,
        "sliding_window": 24,
        "max_window_layers": 1,
    },
    "qwen3": {"architecture": "Qwen3ForCausalLM", "seed": 1},
    "mistral": {"architecture": "MistralForCausalLM", "seed": 1},
    "mixtral": {"architecture": "MixtralForCausalLM", "seed": 1},
    "qwen2_moe": {"architecture": "Qwen2MoeForCausalLM", "seed": 1},
    "qwen2_moe_mixed": {
        "architecture": "Qwen2MoeForCausalLM",
        "seed": 2,
        "num_hidden_layers": 4,
        "mlp_only_layers": [0],
        "norm_topk_prob": True,
        "use_sliding_window": True,
        "sliding_window": 24,
        "max_window_layers": 3,
    },
    "deepseek_v3": {"architecture": "DeepseekV3ForCausalLM", "seed": 1},
    "deepseek_v3_plain": {
        "architecture": "DeepseekV3ForCausalLM",
        "seed": 2,
        "first_k_dense_replace": 0,
        "n_group": 1,
        "norm_topk_prob": False,
        "num_hidden_layers": 2,
        "q_lora_rank": None,
        "rope_interleave": False,
        "rope_scaling": None,
        "topk_group": 1,
    },
    "gemma3_multimodal": {"architecture": "Gemma3ForConditionalGeneration", "seed": 2, "tie": True},
    "gpt_oss": {"architecture": "GptOssForCausalLM", "seed": 1},
    "qwen3_moe": {"architecture": "Qwen3MoeForCausalLM", "seed": 1},
    "qwen3_moe_alternating": {
        "architecture": "Qwen3MoeForCausalLM",
        "seed": 2,
        "decoder_sparse_step": 2,
        "norm_topk_prob": False,
        "use_sliding_window": True,
        "sliding_window": 24,
    },
    "gemma": {"architecture": "GemmaForCausalLM", "seed": 1, "tie": True},
    "gemma2": {"architecture": "Gemma2ForCausalLM", "seed": 1, "tie": True},
    "gemma3": {"architecture": "Gemma3ForCausalLM", "seed": 1, "tie": True},
    "llama_rope_dynamic": {
        "seed": 1,
        "max_position_embeddings": 64,
        "rope_scaling": {"rope_type": "dynamic", "factor": 4.0},
    },
    "llama_rope_yarn": {
        "seed": 1,
        "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 64},
    },
    "phi3": {"architecture": "Phi3ForCausalLM", "seed": 1, "sliding_window": 24},
    "phi3_longrope_short": {
        "architecture": "Phi3ForCausalLM",
        "seed": 2,
        "original_max_position_embeddings": 512,
        "rope_scaling": {"type": "longrope", "attention_factor": 1.2, **PHI_DIVISORS},
    },
    "phi3_longrope_long": {
        "architecture": "Phi3ForCausalLM",
        "seed": 2,
        "original_max_position_embeddings": 16,
        "rope_scaling": {"type": "longrope", **PHI_DIVISORS},
    },
    "olmo2": {"architecture": "Olmo2ForCausalLM", "seed": 1},
    "granite": {"architecture": "GraniteForCausalLM", "seed": 1, "tie": True},
    "cohere2": {"architecture": "Cohere2ForCausalLM", "seed": 2, "tie": True},
    "stablelm": {"architecture": "StableLmForCausalLM", "seed": 1},
    "glm4": {"architecture": "Glm4ForCausalLM", "seed": 1},
    "smollm3": {"architecture": "SmolLM3ForCausalLM", "seed": 1, "tie": True},
}
"""The same for the other families and rotation rules."""

PROMPT_LENGTHS = (1, 20, 300)
"""One token, over one page, over several blocks of keys and many windows."""

OWN_PROMPT_LENGTHS: dict[str, tuple[int, ...]] = {
    "llama_rope_dynamic": (1, 20, 60),  # generation outgrows the trained length, no prompt does
    "phi3_longrope_long": (17, 40, 300),  # all are longer than the trained length
}
"""Where a rule has reasons of its own: golden name -> prompt lengths."""

CANDIDATES_PER_LENGTH = 24
"""Random prompts tried before a tiny model's golden is given up."""


def _chat(*turns: tuple[str, str]) -> str:
    rendered = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
    return rendered + "<|im_start|>assistant\n"


_SYSTEM = ("system", "You are a helpful AI assistant named SmolLM, trained by Hugging Face")

SMOLLM2_PROMPTS: tuple[str, ...] = (
    "The capital of France is",
    _chat(_SYSTEM, ("user", "What is gravity?")),
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
    "Once upon a time, in a small village at the edge of a dark forest, there lived an old clockmaker who",
    _chat(_SYSTEM, ("user", "Name a primary colour."), ("assistant", "Red is a primary colour."), ("user", "Why?")),
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,",
    (
        "The water cycle describes how water moves through the environment. Heat from the sun makes water evaporate"
        " from oceans, lakes and rivers. The vapour rises, cools and condenses into clouds, and falls back to the"
        " ground as rain or snow. Some of it runs off into streams, some sinks into the soil and feeds the ground"
        " water, and some is taken up by the roots of plants, which give it back to the air through their leaves."
        " The three most important stages of this cycle, in the order in which they happen, are therefore"
    ),
    _chat(("user", "Écris une phrase en français, s'il te plaît.")),
    "SELECT name, price FROM products WHERE price > 100 ORDER BY",
    "Dear Dr. Smith,\n\nI am writing to apply for the position of",
    _chat(_SYSTEM, ("user", "Write a haiku about the sea.")),
    "Photosynthesis is the process by which",
    '{"name": "Alice", "age": 30, "city": "Paris"}\n{"name": "Bob", "age":',
    "In 1969, Neil Armstrong became the first person to",
    _chat(_SYSTEM, ("user", "What is 17 + 25?")),
    "Breakfast is the most important meal of the day because",
    "# Shopping list\n\n- milk\n- eggs\n-",
    "To be, or not to be, that is the question:",
    _chat(_SYSTEM, ("user", "Give me two tips for better sleep.")),
    "The mitochondria is often called",
)
"""In order of preference: the first ones whose every step has a clear winner are kept."""

SMOLLM2_PROMPT_COUNT = 8

TOKENIZER_STRINGS: tuple[str, ...] = (
    "",
    " ",
    "  ",
    "\n",
    "\n\n\n",
    "\t\tindented",
    "Hello, world!",
    " leading space",
    "trailing space ",
    "two  spaces   three    four",
    "mixed \t whitespace \n\n and\r\nlines\r",
    "    four spaces, then code",
    "12345678901234567890",
    "3.14159, -2.5e10 and 1,000,000",
    "x1y2z3 v2.0.1 007",
    "Ⅳ ½ ² ٣ ४ 五",
    "don't can't we'll I'm they've you're he'd it's",
    "DON'T WE'LL",
    "it’s a “smart” quote…",
    "naïve café Ångström ümlaut ß",
    "cafe\u0301 (combining accent)",
    "日本語のテキスト",
    "中文没有空格。",
    "한국어 텍스트",
    "Привет, мир!",
    "مرحبا بالعالم",
    "שלום עולם",
    "नमस्ते दुनिया",
    "🙂",
    "family 👨‍👩‍👧‍👦 and flag 🇫🇷 and 👍🏽",
    "zero\u200bwidth and nbsp\u00a0here \ufeffbom",
    "\x00\x01\x7f control",
    "def f(x):\n    return x ** 2  # square\n",
    "for (int i = 0; i < n; ++i) { a[i] += b[i]; }",
    '<div class="a">&amp;</div>',
    "https://example.com/path?q=1&r=%20#frag",
    "a_b-c.d/e\\f|g~h`i^j",
    "!!!??? ... --- *** ###",
    "<|im_start|>user\nHi<|im_end|>\n",
    "<|im_start|><|im_end|><|endoftext|>",
    "text<|endoftext|>more",
    "<|im_start |> <|im_star|> < |im_end|>",
    "<repo_name>x<file_sep>y<filename>z<gh_stars>1",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "𝕌𝕟𝕚𝕔𝕠𝕕𝕖 𝓂𝒶𝓉𝒽",
    "C:\\Users\\name\\file.txt",
    "\u2028line\u2029paragraph\u0085next",
)
