// A row's token: temperature, then top-k, top-p and min-p as one threshold, then a race. Included like
// attention_vector.h, by the same kind of files.
//
// One pass finds the largest logit of each block. Blocks that cannot matter are not looked at again: neither for the
// likeliest tokens, which lie in the blocks with the largest tops, nor in the race. There every token's noise is a hash
// that costs a few integer instructions, and only the few tokens whose hash could make them win are computed.
#pragma once

#include "sampling_threshold.h"

namespace sgl::sampling {
namespace {

// The finaliser of MurmurHash3 (Appleby 2011).
template <class Bits>
inline Bits scramble(Bits x) {
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x = (x ^ (x >> 13)) * 0xC2B2AE35u;
  return x ^ (x >> 16);
}

template <class Bits>
inline Bits hash(uint32_t key, Bits token) {
  return scramble(scramble((token * 0x9E3779B1u) ^ key) + key);
}

// Gumbel's distribution, of a hash as a uniform number.
inline float gumbel(uint32_t bits) {
  const float uniform = std::min((static_cast<float>(bits) + 0.5f) * 0x1p-32f, 1 - 0x1p-24f);
  return -std::log(-std::log1p(-uniform));
}

// Hashes that give at least this much noise: gumbel(u) < -log(u). A little more than that, for what rounding does.
inline uint32_t hashes_above(float noise) {
  const float below = std::exp(-noise) * 0x1.004p32f + 1;
  return below < 0x1p32f ? static_cast<uint32_t>(below) : std::numeric_limits<uint32_t>::max();
}

int32_t race(const Draw& how, const Blocks& blocks, float threshold) {
  const uint32_t key = scramble(how.seed ^ scramble(static_cast<uint32_t>(how.position) + 0x9E3779B9u));
  const auto log_weight = [&](float logit) { return (logit - blocks.top) / how.temperature; };
  int32_t winner = blocks.likeliest();
  float best = gumbel(hash(key, static_cast<uint32_t>(winner)));
  for (int64_t block = 0; block < blocks.count; ++block) {
    if (!(blocks.tops[block] >= threshold)) continue;
    const float* x = blocks.at(block);
    const uint32_t most = hashes_above(best - log_weight(blocks.tops[block]));
    const auto first = static_cast<uint32_t>(block * kBlock);
    for (int i = 0; i < kBlock; i += kLanes) {
      const Ints hashes = hash(key, first + i + lane_numbers());
      for (uint32_t left = lanes_of((hashes <= most) & (load(x + i) >= threshold)); left != 0; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        const auto token = static_cast<int32_t>(first + i + lane);
        const float noisy = log_weight(x[i + lane]) + gumbel(hashes[lane]);
        if (noisy > best || (noisy == best && token < winner)) best = noisy, winner = token;
      }
    }
  }
  return winner;
}

inline int32_t draw(const Draw& how, const float* logits, int64_t vocab) {
  const Blocks blocks(logits, vocab);
  if (how.greedy || !std::isfinite(blocks.top)) return blocks.likeliest();
  return race(how, blocks, threshold(how, blocks));
}

inline void logprobs(const float* logits, int64_t vocab, int32_t drawn, const Logprobs& to) {
  const Blocks blocks(logits, vocab);
  const auto normaliser = static_cast<float>(blocks.top + std::log(blocks.weight(1)));
  static thread_local std::vector<Token> tokens;
  blocks.find(to.tops, tokens);
  std::fill(to.top_ids, to.top_ids + to.tops, 0);
  std::fill(to.top, to.top + to.tops, std::numeric_limits<float>::quiet_NaN());
  *to.drawn = logits[drawn] - normaliser;
  for (size_t i = 0; i < tokens.size(); ++i) {
    to.top_ids[i] = tokens[i].id;
    to.top[i] = tokens[i].logit - normaliser;
  }
}

inline void adjust(const Rules& rules, const float* logits, int64_t vocab, float* to) {
  if (rules.history == nullptr) {
    std::copy(logits, logits + vocab, to);
  } else {
    for (int64_t v = 0; v < vocab; ++v) {
      const uint16_t history = rules.history[v];
      const auto count = static_cast<float>(history & kCount);
      const float penalized = logits[v] > 0 ? logits[v] / rules.repetition : logits[v] * rules.repetition;
      const float once = (history & (kInPrompt | kCount)) != 0 ? penalized : logits[v];
      to[v] = once - (rules.frequency * count + (count > 0 ? rules.presence : 0.0f));
    }
    for (int64_t i = 0; i < rules.biases; ++i) {
      if (rules.bias_ids[i] >= 0 && rules.bias_ids[i] < vocab) to[rules.bias_ids[i]] += rules.bias[i];
    }
    for (int64_t v = 0; rules.too_early && v < vocab; ++v) {
      if ((rules.history[v] & kEnds) != 0) to[v] = kNever;
    }
  }
  for (int64_t v = 0; rules.allowed != nullptr && v < vocab; ++v) {
    if ((rules.allowed[v / 32] >> (v % 32) & 1) == 0) to[v] = kNever;
  }
}

}  // namespace
}  // namespace sgl::sampling
