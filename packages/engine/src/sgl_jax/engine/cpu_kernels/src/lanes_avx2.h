// Sixteen columns at a time, in two halves, with AVX2, FMA and F16C. See lanes_portable.h, which says what each
// operation does.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

struct Lanes {
  struct Floats {
    __m256 low, high;
  };
  struct Ints {
    __m256i low, high;
  };
  using Quads = Ints;
  static constexpr bool kPairProducts = false;
  static constexpr int kMostRows = 4;

  static Floats zero() { return broadcast(0.0f); }
  static Floats broadcast(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
  static Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
  static Floats load_halfs(const uint16_t* from) {
    const auto* eights = reinterpret_cast<const __m128i*>(from);
    return {_mm256_cvtph_ps(_mm_loadu_si128(eights)), _mm256_cvtph_ps(_mm_loadu_si128(eights + 1))};
  }
  static void store(float* to, Floats value) {
    _mm256_storeu_ps(to, value.low);
    _mm256_storeu_ps(to + 8, value.high);
  }
  static void store_first(float* to, Floats value, int count) {
    alignas(32) float all[16];
    store(all, value);
    for (int lane = 0; lane < count; ++lane) to[lane] = all[lane];
  }
  static Floats multiply(Floats a, Floats b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  static Floats add(Floats a, Floats b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static Floats fma(Floats a, Floats b, Floats c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static Floats largest_magnitude(Floats a, Floats b) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_max_ps(_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, b.low)),
            _mm256_max_ps(_mm256_andnot_ps(sign, a.high), _mm256_andnot_ps(sign, b.high))};
  }
  static float largest_of(Floats a) {
    const __m256 eight = _mm256_max_ps(a.low, a.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static float sum_of(Floats a) {
    const __m256 eight = _mm256_add_ps(a.low, a.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static bool has_nan(Floats a) {  // in either half
    return _mm256_movemask_ps(_mm256_cmp_ps(a.low, a.high, _CMP_UNORD_Q)) != 0;
  }

  static Ints zero_ints() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static Floats to_floats(Ints a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }
  static Quads load_quads(const uint8_t* from) {
    const auto* eights = reinterpret_cast<const __m256i*>(from);
    return {_mm256_loadu_si256(eights), _mm256_loadu_si256(eights + 1)};
  }
  static Quads low_nibbles(Quads a) {
    const __m256i mask = _mm256_set1_epi8(0x0F);
    return {_mm256_and_si256(a.low, mask), _mm256_and_si256(a.high, mask)};
  }
  static Quads high_nibbles(Quads a) {
    return low_nibbles({_mm256_srli_epi16(a.low, 4), _mm256_srli_epi16(a.high, 4)});
  }
  template <bool small>
  static Ints dot(Ints sum, Quads codes, int32_t four) {
    const __m256i x = _mm256_set1_epi32(four);
    return {dot_half<small>(sum.low, codes.low, x), dot_half<small>(sum.high, codes.high, x)};
  }
  static Ints add_ints(Ints a, Ints b) {
    return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
  }
  template <int which>
  static Floats code_floats(Quads codes) {
    const __m256i mask = _mm256_set1_epi32(0xFF);
    return to_floats({_mm256_and_si256(_mm256_srli_epi32(codes.low, 8 * which), mask),
                      _mm256_and_si256(_mm256_srli_epi32(codes.high, 8 * which), mask)});
  }
  static int32_t store_rounded(int8_t* to, Floats first, Floats second) {
    const Ints a = {_mm256_cvtps_epi32(first.low), _mm256_cvtps_epi32(first.high)};
    const Ints b = {_mm256_cvtps_epi32(second.low), _mm256_cvtps_epi32(second.high)};
    // Packing goes by halves: numbers 0, 8, 16, 24, then 4, 12, 20, 28, four of each.
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a.low, a.high), _mm256_packs_epi32(b.low, b.high));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
    const Ints all = add_ints(a, b);
    const __m256i eight = _mm256_add_epi32(all.low, all.high);
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0b01001110));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0b10110001)));
  }

  static Quads load_pairs(const uint16_t* from) { return load_quads(reinterpret_cast<const uint8_t*>(from)); }
  static Floats first_of_pairs(Quads pairs) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(pairs.low, 16)),
            _mm256_castsi256_ps(_mm256_slli_epi32(pairs.high, 16))};
  }
  static Floats second_of_pairs(Quads pairs) {
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(0xFFFF0000u));
    return {_mm256_castsi256_ps(_mm256_and_si256(pairs.low, mask)),
            _mm256_castsi256_ps(_mm256_and_si256(pairs.high, mask))};
  }

 private:
  template <bool small>
  static __m256i dot_half(__m256i sum, __m256i codes, __m256i x) {
    if (small) {
      const __m256i pairs = _mm256_maddubs_epi16(codes, x);
      return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    // Sums of two products of full bytes do not fit 16 bits: even and odd bytes are widened first.
    const __m256i even = _mm256_and_si256(codes, _mm256_set1_epi16(0xFF)), odd = _mm256_srli_epi16(codes, 8);
    const __m256i x_even = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), x_odd = _mm256_srai_epi16(x, 8);
    return _mm256_add_epi32(sum,
                            _mm256_add_epi32(_mm256_madd_epi16(even, x_even), _mm256_madd_epi16(odd, x_odd)));
  }
};

}  // namespace
