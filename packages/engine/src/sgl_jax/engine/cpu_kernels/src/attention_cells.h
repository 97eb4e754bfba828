// What products of small matrices are made of: cells of 32 bits along the axis that is summed, each a float or, where
// the processor multiplies pairs, two neighbours in bfloat16. Included like attention_vector.h, by the same files.
#pragma once

#include "attention_storage.h"

namespace sgl::attention {
namespace {

#if defined(__AVX512BF16__)

constexpr int kCell = 2;  // numbers

// sum + left * right, each of them rounded once; floats so small that their exponent is zero count as zero.
inline Vec multiply_add(Vec left, Vec right, Vec sum) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(left), reinterpret_cast<__m512bh>(right));
}

// All lanes are this cell, whatever it would be as a float.
inline Vec all_cells(const float* cell) {
  int pair;
  std::memcpy(&pair, cell, sizeof(pair));
  return reinterpret_cast<Vec>(_mm512_set1_epi32(pair));
}

// Numbers become cells, in the same place if need be. Reads and writes whole pairs of vectors.
inline void pack(const float* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i += 2 * kLanes) {
    store(to + i / 2, reinterpret_cast<Vec>(_mm512_cvtne2ps_pbh(load(from + i + kLanes), load(from + i))));
  }
}

// The cells of two vectors that are summed: pairs of one number each. The second one may be null, for zeros.
inline void interleave(const float* first, const float* second, int64_t count, float* to) {
  const auto* low = reinterpret_cast<const uint16_t*>(first);
  const auto* high = reinterpret_cast<const uint16_t*>(second);
  for (int64_t i = 0; i < count; i += kLanes) {
    const auto some = static_cast<__mmask16>(count - i >= kLanes ? 0xffff : (1 << (count - i)) - 1);
    __m512i cells = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, low + i));
    if (high != nullptr) {
      const __m512i others = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, high + i));
      cells = _mm512_or_si512(cells, _mm512_slli_epi32(others, 16));
    }
    store(to + i, reinterpret_cast<Vec>(cells));
  }
}

#else

constexpr int kCell = 1;

inline Vec multiply_add(Vec left, Vec right, Vec sum) { return fma(left, right, sum); }
inline Vec all_cells(const float* cell) { return all(*cell); }
inline void pack(const float* from, int64_t count, float* to) {
  if (from != to) std::memcpy(to, from, count * sizeof(float));
}

#endif

inline int64_t cells_of(int64_t count) { return (count + kCell - 1) / kCell; }

// Cells that are multiplied together: where something is summed, it is filled up to so many with zeros.
#if defined(__AMX_BF16__)
constexpr int kCellsTogether = 16;
#else
constexpr int kCellsTogether = 1;
#endif

inline int64_t padded_cells(int64_t count) { return round_up(cells_of(count), kCellsTogether); }

// Zeros after the first `count` of the numbers that will be cells multiplied together.
inline void clear_after(float* numbers, int64_t count) {
  for (int64_t i = count; i < padded_cells(count) * kCell; ++i) numbers[i] = 0;
}

// A stored vector as cells, wherever they then are; `memory` has room for it as floats, in whole pairs of vectors.
inline const float* as_cells(const Call& call, const Pool& pool, int64_t place, float* memory) {
  const uint8_t* stored = pool.data + place * call.dim * bytes_of(call.element);
  if (bytes_of(call.element) == 4 / kCell) return reinterpret_cast<const float*>(stored);
  if (call.element == Element::bfloat16) {
    const auto* halves = reinterpret_cast<const uint16_t*>(stored);
    for (int64_t d = 0; d < call.dim; ++d) memory[d] = float_of(static_cast<uint32_t>(halves[d]) << 16);
  } else {
    widen(call.element, stored, memory, call.dim);
    pack(memory, call.dim, memory);
  }
  return memory;
}

}  // namespace
}  // namespace sgl::attention
