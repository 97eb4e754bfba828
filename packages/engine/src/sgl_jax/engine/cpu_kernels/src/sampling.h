// What the parts of drawing tell each other. sampling_ffi.h shares rows out among the threads; sampling_row.h draws
// one row's token, once for each instruction set.
#pragma once

#include <cstdint>

#include "isa.h"

namespace sgl::sampling {

// The bits of a token in a slot's history; adjust.py says what they mean.
constexpr uint16_t kInPrompt = 1 << 15;
constexpr uint16_t kEnds = 1 << 14;
constexpr uint16_t kCount = kEnds - 1;

// What a request asks of its logits, see adjust.py.
struct Rules {
  const uint16_t* history;  // [V], or null if it asks for nothing
  float repetition, frequency, presence;
  bool too_early;  // tokens that would end the sequence are forbidden
  const int32_t* bias_ids;
  const float* bias;
  int64_t biases;
  const uint32_t* allowed;  // bits [V / 32], or null if any token is
};

// How a row draws, see sampler.py.
struct Draw {
  bool greedy;
  float temperature;
  int32_t top_k;  // below 1 keeps all
  float top_p, min_p;
  uint32_t seed;
  int32_t position;
};

// Log-probabilities of a row: of its token, and of the likeliest ones, best first.
struct Logprobs {
  float* drawn;
  int32_t* top_ids;  // [tops]
  float* top;        // [tops]
  int64_t tops;
};

struct Kernels {
  // to[v] is logits[v], adjusted.
  void (*adjust)(const Rules& rules, const float* logits, int64_t vocab, float* to);
  int32_t (*draw)(const Draw& how, const float* logits, int64_t vocab);
  void (*logprobs)(const float* logits, int64_t vocab, int32_t drawn, const Logprobs& to);
};

extern const Kernels portable_kernels;
#if defined(SGL_X86)
extern const Kernels avx2_kernels, avx512_kernels;
#endif

}  // namespace sgl::sampling
