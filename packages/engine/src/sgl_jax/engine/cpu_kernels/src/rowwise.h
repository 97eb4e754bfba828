// What happens to rows of activations between products. Everything is private to the including file (see isa.h).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "matmul.h"
#include "vector.h"

namespace sgl {
namespace {

// The first `count` floats, then zeros.
inline Vec load_first(const float* from, int64_t count) {
  float whole[kLanes] = {};
  std::memcpy(whole, from, static_cast<size_t>(count) * sizeof(float));
  return load(whole);
}

inline void store_first(float* to, Vec x, int64_t count) {
  std::memcpy(to, &x, static_cast<size_t>(count) * sizeof(float));
}

// Calls use(at, count) for vectors of [0, size); the last one may be shorter.
template <class Use>
inline void by_vectors(int64_t size, Use&& use) {
  int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes) use(at, kLanes);
  if (at < size) use(at, size - at);
}

inline Vec load_at(const float* from, int64_t at, int64_t count) {
  return count == kLanes ? load(from + at) : load_first(from + at, count);
}

inline void store_at(float* to, int64_t at, Vec x, int64_t count) {
  if (count == kLanes) {
    store(to + at, x);
  } else {
    store_first(to + at, x, count);
  }
}

// Zhang & Sennrich 2019: out = scale * x / sqrt(mean(x^2) + eps)
void normalize(const float* x, const float* scale, float eps, int64_t size, float* out) {
  Vec squares = all(0.0f);
  by_vectors(size, [&](int64_t at, int64_t count) {
    const Vec some = load_at(x, at, count);
    squares = fma(some, some, squares);
  });
  const Vec inverse = all(1.0f / std::sqrt(sum(squares) / static_cast<float>(size) + eps));
  by_vectors(size, [&](int64_t at, int64_t count) {
    store_at(out, at, load_at(scale, at, count) * (load_at(x, at, count) * inverse), count);
  });
}

// Su et al. 2021: elements i and i + half are turned by the angle i. `out` may be `x`.
void rotate(const float* x, const float* cos, const float* sin, int64_t half, float* out) {
  by_vectors(half, [&](int64_t at, int64_t count) {
    const Vec first = load_at(x, at, count), second = load_at(x, half + at, count);
    const Vec c = load_at(cos, at, count), s = load_at(sin, at, count);
    store_at(out, at, first * c - second * s, count);
    store_at(out, half + at, second * c + first * s, count);
  });
}

inline Vec activated(Activation activation, Vec x) {
  if (activation == Activation::silu) return x / (exp(-x) + 1.0f);
  // Hendrycks & Gimpel 2016, with their tanh.
  const Vec inner = x * fma(x * x, all(0.044715f * 0.7978845608f), all(0.7978845608f));
  return 0.5f * x * (tanh(inner) + 1.0f);
}

// `out` may be one of the addends.
void add(const float* a, const float* b, int64_t size, float* out) {
  by_vectors(size, [&](int64_t at, int64_t count) {
    store_at(out, at, load_at(a, at, count) + load_at(b, at, count), count);
  });
}

void gate(Activation activation, const float* gates, const float* ups, int64_t size, float* out) {
  by_vectors(size, [&](int64_t at, int64_t count) {
    store_at(out, at, activated(activation, load_at(gates, at, count)) * load_at(ups, at, count), count);
  });
}

}  // namespace
}  // namespace sgl
