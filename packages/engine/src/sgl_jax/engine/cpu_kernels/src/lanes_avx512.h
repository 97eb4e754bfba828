// Sixteen columns at a time, with AVX512 and VNNI, and BF16 where the file is compiled for it. See lanes_portable.h,
// which says what each operation does.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

struct Lanes {
  using Floats = __m512;
  using Ints = __m512i;
  using Quads = __m512i;
#if defined(__AVX512BF16__)
  static constexpr bool kPairProducts = true;
#else
  static constexpr bool kPairProducts = false;
#endif
  static constexpr int kMostRows = 8;

  static Floats zero() { return _mm512_setzero_ps(); }
  static Floats broadcast(float value) { return _mm512_set1_ps(value); }
  static Floats load(const float* from) { return _mm512_loadu_ps(from); }
  static Floats load_halfs(const uint16_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static void store(float* to, Floats value) { _mm512_storeu_ps(to, value); }
  static void store_first(float* to, Floats value, int count) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), value);
  }
  static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats largest_magnitude(Floats a, Floats b) {
    return _mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b));
  }
  static float largest_of(Floats a) { return _mm512_reduce_max_ps(a); }
  static float sum_of(Floats a) { return _mm512_reduce_add_ps(a); }
  static bool has_nan(Floats a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q) != 0; }

  static Ints zero_ints() { return _mm512_setzero_si512(); }
  static Floats to_floats(Ints a) { return _mm512_cvtepi32_ps(a); }
  static Quads load_quads(const uint8_t* from) { return _mm512_loadu_si512(from); }
  static Quads low_nibbles(Quads a) { return _mm512_and_si512(a, _mm512_set1_epi8(0x0F)); }
  static Quads high_nibbles(Quads a) { return low_nibbles(_mm512_srli_epi16(a, 4)); }
  template <bool small>
  static Ints dot(Ints sum, Quads codes, int32_t four) {
    return _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(four));
  }
  static Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
  template <int which>
  static Floats code_floats(Quads codes) {
    return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(codes, 8 * which), _mm512_set1_epi32(0xFF)));
  }
  static int32_t store_rounded(int8_t* to, Floats first, Floats second) {
    const __m512i low = _mm512_cvtps_epi32(first), high = _mm512_cvtps_epi32(second);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16), _mm512_cvtsepi32_epi8(high));
    return _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
  }

  static Quads load_pairs(const uint16_t* from) { return _mm512_loadu_si512(from); }
  static Floats first_of_pairs(Quads pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
  static Floats second_of_pairs(Quads pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u))));
  }
#if defined(__AVX512BF16__)
  static Floats dot_pairs(Floats sum, Quads pairs, int32_t two) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(pairs),
                            reinterpret_cast<__m512bh>(_mm512_set1_epi32(two)));
  }
  static void store_bf16(uint16_t* to, Floats value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
  }
#endif
};

}  // namespace
