// What attention does with vectors, besides arithmetic: shuffles, and elements as pools store them.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "attention.h"
#include "vector.h"

namespace sgl::attention {
namespace {

constexpr float kMasked = -1e30f;

#if defined(__AVX512F__)
#define SGL_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define SGL_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define SGL_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define SGL_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif defined(__AVX2__)
#define SGL_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define SGL_ODD 1, 3, 5, 7, 9, 11, 13, 15
#define SGL_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define SGL_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define SGL_EVEN 0, 2, 4, 6
#define SGL_ODD 1, 3, 5, 7
#define SGL_LOW 0, 4, 1, 5
#define SGL_HIGH 2, 6, 3, 7
#endif

// Sums of neighbours: those of a, then those of b.
inline Vec add_pairs(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, SGL_EVEN) + __builtin_shufflevector(a, b, SGL_ODD);
}

// In place: afterwards x[i][j] is what x[j][i] was. Each round interleaves the halves of the rows.
inline void transpose(Vec (&x)[kLanes]) {
  for (int round = 1; round < kLanes; round *= 2) {
    Vec y[kLanes];
    for (int i = 0; i < kLanes / 2; ++i) {
      y[2 * i] = __builtin_shufflevector(x[i], x[i + kLanes / 2], SGL_LOW);
      y[2 * i + 1] = __builtin_shufflevector(x[i], x[i + kLanes / 2], SGL_HIGH);
    }
    for (int i = 0; i < kLanes; ++i) x[i] = y[i];
  }
}

// What 2 * kLanes stored elements are worth. bfloat16 comes out as the elements with even numbers, then those with odd
// ones: then widening takes one instruction a vector. `arranged` and `restored` translate.
struct Pair {
  Vec first, second;
};

inline Pair load_pair(const float* from) { return {load(from), load(from + kLanes)}; }

inline Pair load_pair(const uint16_t* from) {
  const Ints both = *reinterpret_cast<const UnalignedInts*>(from);
  return {floats(both << 16), floats(both & 0xffff0000u)};
}

// The same of the first `count` elements, an even number; the others are zero, and not read.
template <class T>
inline Pair load_pair(const T* from, int count) {
#if defined(__AVX512F__)
  const auto mask = [](int lanes) {
    return static_cast<__mmask16>(lanes >= kLanes ? 0xffff : lanes <= 0 ? 0 : (1 << lanes) - 1);
  };
  if constexpr (sizeof(T) == 4) {
    return {_mm512_maskz_loadu_ps(mask(count), from), _mm512_maskz_loadu_ps(mask(count - kLanes), from + kLanes)};
  } else {
    const Ints both = reinterpret_cast<Ints>(_mm512_maskz_loadu_epi32(mask(count / 2), from));
    return {floats(both << 16), floats(both & 0xffff0000u)};
  }
#else
  T whole[2 * kLanes] = {};
  std::memcpy(whole, from, count * sizeof(T));
  return load_pair(whole);
#endif
}

// Brings float[width], a multiple of 2 * kLanes, into the order in which load_pair<T> gives elements, in place.
template <class T>
inline void arrange(float* x, int64_t width) {
  if (sizeof(T) == 4) return;
  for (; width > 0; width -= 2 * kLanes, x += 2 * kLanes) {
    const Vec low = load(x), high = load(x + kLanes);
    store(x, __builtin_shufflevector(low, high, SGL_EVEN));
    store(x + kLanes, __builtin_shufflevector(low, high, SGL_ODD));
  }
}

// And back.
template <class T>
inline void restore(float* x, int64_t width) {
  if (sizeof(T) == 4) return;
  for (; width > 0; width -= 2 * kLanes, x += 2 * kLanes) {
    const Vec even = load(x), odd = load(x + kLanes);
    store(x, __builtin_shufflevector(even, odd, SGL_LOW));
    store(x + kLanes, __builtin_shufflevector(even, odd, SGL_HIGH));
  }
}

inline int smaller(int a, int b) { return a < b ? a : b; }
inline int greater(int a, int b) { return a > b ? a : b; }
inline int64_t round_up(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

}  // namespace
}  // namespace sgl::attention
