#include "rows.h"

#include <cstring>

namespace sgl {
namespace {

float bits_to_float(uint32_t bits) {
  float number;
  std::memcpy(&number, &bits, sizeof number);
  return number;
}

float read_half(const char* from) {
  uint16_t half;
  std::memcpy(&half, from, sizeof half);
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, rest = half & 0x7FFF;
  if (rest >= 0x7C00) return bits_to_float(sign | 0x7F800000u | (rest & 0x3FF) << 13);
  if (rest < 0x400) return (sign ? -1.0f : 1.0f) * static_cast<float>(rest) * 0x1p-24f;
  return bits_to_float(sign | ((rest << 13) + (112u << 23)));
}

// One row's part of a group; `lane` is its place among the sixteen.
void unpack_group(Format format, const char* group, int64_t lane, float* out) {
  const bool paired = format != Format::q8_0;
  const char* scales = group + (paired ? 256 : 512);
  const float scale = read_half(scales + 2 * lane);
  const float zero = format == Format::q4_0 ? 8.0f : format == Format::q8_0 ? 128.0f : 0.0f;
  const float minimum = format == Format::q4_1 ? read_half(scales + 32 + 2 * lane) : 0.0f;
  const auto* codes = reinterpret_cast<const uint8_t*>(group);
  for (int64_t at = 0; at < kGroup; ++at) {
    const int64_t within = paired ? at % 16 : at;
    const uint8_t byte = codes[within / 4 * 64 + lane * 4 + within % 4];
    const int code = !paired ? byte : at < 16 ? byte & 0x0F : byte >> 4;
    out[at] = (static_cast<float>(code) - zero) * scale + minimum;
  }
}

}  // namespace

void unpack_row(Format format, const char* tiles, int64_t row, int64_t k, float* out) {
  const char* block = tiles + row / kColumns * column_block_bytes(format, k);
  const int64_t lane = row % kColumns;
  if (is_grouped(format)) {
    const int64_t bytes = column_block_bytes(format, kGroup);
    for (int64_t g = 0; g < k / kGroup; ++g) unpack_group(format, block + g * bytes, lane, out + g * kGroup);
  } else if (format == Format::bf16) {
    const auto* pairs = reinterpret_cast<const uint16_t*>(block);
    for (int64_t at = 0; at < k; ++at) {
      out[at] = bits_to_float(static_cast<uint32_t>(pairs[at / 2 * 2 * kColumns + lane * 2 + at % 2]) << 16);
    }
  } else {
    const auto* values = reinterpret_cast<const float*>(block);
    for (int64_t at = 0; at < k; ++at) out[at] = values[at * kColumns + lane];
  }
}

}  // namespace sgl
