// Keys and values as they are stored: floats rounded to the nearest, ties to even, as attention/kv_write.py says. In
// integers throughout: XLA's threads treat floats below 2^-126 as zero, which the small formats do not. Included like
// attention_vector.h, by the same files.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "attention_storage.h"

namespace sgl::attention {
namespace {

constexpr float kMostInt8 = 127.0f;

inline uint16_t to_bfloat16(float x) {
  const uint32_t bits = bits_of(x);
  const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
}

// A sign, kExponent bits of exponent and kMantissa of mantissa. What lies beyond `kLargest` becomes it, but NaN is NaN.
template <int kExponent, int kMantissa, int kLargest, int kNan>
inline uint8_t to_float8(float x) {
  constexpr int kBias = (1 << (kExponent - 1)) - 1, kDropped = 23 - kMantissa;
  const uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffff;
  const auto sign = static_cast<uint8_t>(bits >> 24 & 0x80);
  if (magnitude > 0x7f800000) return sign | kNan;
  const int exponent = static_cast<int>(magnitude >> 23) - 127 + kBias;
  // Below the smallest ordinary number the mantissa, its leading one included, moves down.
  const int shift = kDropped + (exponent > 0 ? 0 : 1 - exponent);
  if (shift > 24) return sign;
  const uint32_t mantissa = exponent > 0 ? magnitude & 0x7fffff : (magnitude & 0x7fffff) | 0x800000;
  const uint32_t half = 1u << (shift - 1), kept = mantissa >> shift;
  const uint32_t carry = ((mantissa & (half * 2 - 1)) + (kept & 1) > half) ? 1 : 0;
  const uint32_t number = (exponent > 0 ? static_cast<uint32_t>(exponent) << kMantissa : 0) + kept + carry;
  return static_cast<uint8_t>(sign | (number > kLargest ? kLargest : number));
}

inline uint8_t to_e4m3(float x) { return to_float8<4, 3, 0x7e, 0x7f>(x); }
inline uint8_t to_e5m2(float x) { return to_float8<5, 2, 0x7b, 0x7e>(x); }

template <class Small, class Convert>
void convert(const float* from, uint8_t* to, int64_t count, const Convert& one) {
  auto* small = reinterpret_cast<Small*>(to);
  for (int64_t i = 0; i < count; ++i) small[i] = one(from[i]);
}

// One vector [D]; returns what it is to be multiplied by.
inline float quantize(const float* from, uint8_t* to, int64_t dim) {
  float largest = 0;
  for (int64_t d = 0; d < dim; ++d) {
    const float magnitude = std::fabs(from[d]);
    if (magnitude > largest || magnitude != magnitude) largest = magnitude;
  }
  const float scale = largest * (1.0f / kMostInt8), divisor = scale > 0 ? scale : 1.0f;
  convert<int8_t>(from, to, dim, [divisor](float x) {
    const float whole = std::nearbyint(x / divisor);
    return static_cast<int8_t>(whole == whole ? whole : 0);
  });
  return scale;
}

// See Encode.
inline void encode(Element element, const float* from, uint8_t* to, float* scale, int64_t heads, int64_t dim) {
  switch (element) {
    case Element::float32:
      std::memcpy(to, from, heads * dim * sizeof(float));
      break;
    case Element::bfloat16:
      convert<uint16_t>(from, to, heads * dim, to_bfloat16);
      break;
    case Element::float8_e4m3:
      convert<uint8_t>(from, to, heads * dim, to_e4m3);
      break;
    case Element::float8_e5m2:
      convert<uint8_t>(from, to, heads * dim, to_e5m2);
      break;
    case Element::int8:
      for (int64_t head = 0; head < heads; ++head) scale[head] = quantize(from + head * dim, to + head * dim, dim);
  }
}

}  // namespace
}  // namespace sgl::attention
