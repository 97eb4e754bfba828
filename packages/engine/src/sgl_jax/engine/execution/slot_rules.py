"""What a request asks of the logits, as the arrays that its slot keeps on the device."""

from __future__ import annotations

import jax
import numpy as np

from sgl_jax.engine.parallel.mesh import bring
from sgl_jax.engine.plan import SlotHistory
from sgl_jax.engine.sampling.adjust import ENDS, IN_PROMPT, MAX_COUNT, LogitRules
from sgl_jax.engine.sampling_params import MAX_LOGIT_BIAS, SamplingParams


def upload_rules(
    sampling: SamplingParams, history: SlotHistory, vocab_size: int, device: jax.Device | jax.sharding.Sharding
) -> LogitRules:
    """One slot's rules, packed on the host; as much to upload for a long sequence as for a short one."""
    generated, counts = np.unique(np.asarray(history.generated_ids, np.int32), return_counts=True)
    tokens = np.zeros(vocab_size, np.uint16)
    tokens[generated] = np.minimum(counts, MAX_COUNT)
    tokens[np.asarray(history.prompt_ids, np.int32)] |= IN_PROMPT
    # A model may name an end that its vocabulary does not reach.
    tokens[[token for token in history.ending_ids if token < vocab_size]] |= ENDS
    size = len(sampling.logit_bias)
    bias_ids = np.full(MAX_LOGIT_BIAS, vocab_size, np.int32)
    bias_ids[:size] = list(sampling.logit_bias)
    bias = np.zeros(MAX_LOGIT_BIAS, np.float32)
    bias[:size] = list(sampling.logit_bias.values())
    penalties = (sampling.repetition_penalty, sampling.frequency_penalty, sampling.presence_penalty)
    min_length = np.int32(len(history.prompt_ids) + sampling.min_new_tokens)
    packed = (tokens, np.asarray(penalties, np.float32), min_length, bias_ids, bias)
    return LogitRules(*bring(packed, device))
