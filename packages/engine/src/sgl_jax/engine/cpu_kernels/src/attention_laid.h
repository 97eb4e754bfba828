// Keys and values as tiles multiply them, in cells (attention_cells.h), keys transposed. A thread keeps the blocks that
// it has laid out, because its next tile mostly sees the same: a prompt's next queries do, and another prompt's that
// begins with the same pages. Included like attention_vector.h, by the same files.
#pragma once

#include "attention_cells.h"

namespace sgl::attention {
namespace {

// Columns of a product that stay in registers.
constexpr int kColumns = kLanes == 16 ? 4 : 2;
constexpr int kPanel = kColumns * kLanes;
static_assert(kTileKeys % kPanel == 0);

struct Laid {
  const float* keys;    // [kTileKeys / kPanel, padded cells of D, kPanel]
  const float* values;  // [padded cells of keys, width], width being D in whole vectors
};

// What a thread's memory for blocks holds, by a block's number in its row.
struct Content {
  uint64_t call;
  int count;
  int64_t places[kTileKeys];
};
thread_local Content kept[kMostKept];

inline void lay_out_keys(const Call& call, const int64_t* places, int count, float* widened, float* keys) {
  const auto cells = static_cast<int>(cells_of(call.dim)), padded = static_cast<int>(padded_cells(call.dim));
  const int64_t stride = round_up(call.dim, 2 * kLanes);
  const float* rows[kLanes];
  for (int t = 0; t < kTileKeys; t += kLanes) {
    float* panel = keys + t / kPanel * padded * kPanel + t % kPanel;
    for (int d = t < count ? cells : 0; d < padded; ++d) store(panel + d * kPanel, Vec{});
    if (t >= count) continue;
    for (int i = 0; i < kLanes; ++i) {
      // Lanes without a key repeat one: they are masked later, and must not be NaN for others' sake.
      rows[i] = as_cells(call, call.keys, places[smaller(t + i, count - 1)], widened + i * stride);
    }
    int d = 0;
    for (; d + kLanes <= cells; d += kLanes) {
      Vec square[kLanes];
      for (int i = 0; i < kLanes; ++i) square[i] = load(rows[i] + d);
      transpose(square);
      for (int i = 0; i < kLanes; ++i) store(panel + (d + i) * kPanel, square[i]);
    }
    for (; d < cells; ++d) {
      for (int i = 0; i < kLanes; ++i) std::memcpy(panel + d * kPanel + i, rows[i] + d, sizeof(float));
    }
  }
}

inline void lay_out_values(const Call& call, const int64_t* places, int count, float* widened, float* values) {
  const int64_t width = round_up(call.dim, kLanes);
#if defined(__AVX512BF16__)
  const int64_t stride = round_up(call.dim, 2 * kLanes);
  for (int t = 0; t < count; t += 2) {
    const float* first = as_cells(call, call.values, places[t], widened);
    const bool both = t + 1 < count;
    const float* second = both ? as_cells(call, call.values, places[t + 1], widened + stride) : nullptr;
    interleave(first, second, call.dim, values + t / 2 * width);
  }
  for (int64_t cell = cells_of(count); cell < padded_cells(count); ++cell) {
    for (int64_t d = 0; d < width; d += kLanes) store(values + cell * width + d, Vec{});
  }
#else
  for (int t = 0; t < count; ++t) {
    float* row = values + t * width;
    const float* floats = as_cells(call, call.values, places[t], row);
    if (floats != row) std::memcpy(row, floats, call.dim * sizeof(float));
  }
#endif
}

// The block of keys at these places, block `number` of its row. `widened` has room for kLanes vectors in whole pairs of
// registers, `blocks` is what scratch has for blocks.
inline Laid laid_out(const Call& call, int number, const int64_t* places, int count, float* widened, float* blocks) {
  const int most = kept_blocks(call.dim);
  number = smaller(number, most);  // those beyond share a place, and nobody keeps them
  float *keys = blocks + number * block_floats(call.dim), *values = keys + block_floats(call.dim) / 2;
  Content& content = kept[smaller(number, kMostKept - 1)];
  const size_t bytes = count * sizeof(int64_t);
  if (number < most) {
    const bool same = content.call == call.number && content.count == count;
    if (same && std::memcmp(content.places, places, bytes) == 0) return {keys, values};
    content.call = call.number, content.count = count;
    std::memcpy(content.places, places, bytes);
  }
  lay_out_keys(call, places, count, widened, keys);
  lay_out_values(call, places, count, widened, values);
  return {keys, values};
}

}  // namespace
}  // namespace sgl::attention
