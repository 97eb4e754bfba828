// Where a unit's keys lie, and formats of one byte made floats. Included like attention_vector.h, by the same files.
#pragma once

#include "attention_vector.h"

namespace sgl::attention {
namespace {

// The places of the vectors of keys [first, end) of a unit's row, for its first key head; times `dim` they are offsets
// of elements.
inline void find_places(const Call& call, const Unit& unit, int first, int end, int64_t* places) {
  for (int key = first; key < end;) {
    int64_t place = place_of(call, unit.row, key) + unit.kv_head;
    const int64_t page_end = (key / call.page_size + 1) * call.page_size;
    for (; key < end && key < page_end; ++key, place += call.kv_heads) *places++ = place;
  }
}

inline float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

// Exponent and mantissa go where float has them, and the exponent's bias is corrected. Numbers without a leading one
// are multiples of the smallest: XLA's threads treat such floats as zero, so they must never be floats with these bits.
inline float from_e4m3(uint8_t x) {
  const uint32_t magnitude = x & 0x7f;
  const uint32_t small = bits_of(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-9f);
  const uint32_t number = magnitude < 8 ? small : (magnitude << 20) + (120u << 23);
  return float_of((x & 0x80u) << 24 | (magnitude == 0x7f ? 0x7fc00000 : number));
}

inline float from_e5m2(uint8_t x) {
  const uint32_t magnitude = x & 0x7f;
  const uint32_t small = bits_of(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-16f);
  const uint32_t number = magnitude < 4 ? small : (magnitude << 21) + (112u << 23);
  return float_of((x & 0x80u) << 24 | (magnitude >= 0x7c ? 0x7f800000 | magnitude << 21 : number));
}

inline void widen(Element element, const uint8_t* from, float* to, int64_t count) {
  switch (element) {
    case Element::float8_e4m3:
      for (int64_t i = 0; i < count; ++i) to[i] = from_e4m3(from[i]);
      break;
    case Element::float8_e5m2:
      for (int64_t i = 0; i < count; ++i) to[i] = from_e5m2(from[i]);
      break;
    default:
      for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>(static_cast<int8_t>(from[i]));
  }
}

}  // namespace
}  // namespace sgl::attention
