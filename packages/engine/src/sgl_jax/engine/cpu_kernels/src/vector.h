// Vectors of floats, as wide as the instructions of the including file allow. No include guard against other files:
// everything is private to the file that includes it (see isa.h).
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace sgl {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef float UnalignedVec __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef uint32_t UnalignedInts __attribute__((vector_size(4 * kLanes), aligned(2), may_alias));

inline Vec load(const float* from) { return *reinterpret_cast<const UnalignedVec*>(from); }
inline void store(float* to, Vec x) { *reinterpret_cast<UnalignedVec*>(to) = x; }
inline Vec all(float x) { return x - Vec{}; }
inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
inline Ints bits(Vec x) { return reinterpret_cast<Ints>(x); }
inline Vec floats(Ints x) { return reinterpret_cast<Vec>(x); }

// a * b + c
inline Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

inline Ints lane_numbers() {
  Ints numbers;
  for (int i = 0; i < kLanes; ++i) numbers[i] = i;
  return numbers;
}

// Bit i says whether a comparison of vectors holds in lane i.
template <class Comparison>
inline uint32_t lanes_of(Comparison holds) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(holds));
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(holds)));
#else
  uint32_t lanes = 0;
  for (int i = 0; i < kLanes; ++i) lanes |= holds[i] != 0 ? 1u << i : 0u;
  return lanes;
#endif
}

inline float sum(Vec x) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps(x);
#else
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += x[i];
  return total;
#endif
}

// The largest that is a number.
inline float largest(Vec x) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps(x);
#else
  float top = x[0];
  for (int i = 1; i < kLanes; ++i) top = x[i] > top ? x[i] : top;
  return top;
#endif
}

// e^x to 1e-7 of itself; 0 below -87, and NaN stays NaN. Cody & Waite's reduction, Taylor's series to the sixth power.
inline Vec exp(Vec x) {
  const Vec capped = x > 88.0f ? all(88.0f) : x;
  const Vec magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer, which its low bits then hold
  const Vec shifted = fma(capped, all(1.44269504f), magic);
  const Vec whole = shifted - magic;
  const Vec rest = fma(whole, all(2.12194440e-4f), fma(whole, all(-0.693359375f), capped));
  Vec series = all(1.0f / 720);
  series = fma(series, rest, all(1.0f / 120));
  series = fma(series, rest, all(1.0f / 24));
  series = fma(series, rest, all(1.0f / 6));
  series = fma(series, rest, all(0.5f));
  series = fma(series, rest, all(1.0f));
  series = fma(series, rest, all(1.0f));
  const Vec power = floats((bits(shifted) << 23) + bits(all(1.0f)));
  return x < -87.0f ? all(0.0f) : series * power;
}

inline Vec tanh(Vec x) { return all(1.0f) - all(2.0f) / (exp(x + x) + 1.0f); }

}  // namespace
}  // namespace sgl
