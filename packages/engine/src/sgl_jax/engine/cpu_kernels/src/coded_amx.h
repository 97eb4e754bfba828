// Products of rows in eight bits with a matrix in groups, by AMX's tiles of integers: sums and results of tile_coded
// (tiles.h) to the last bit, so that how many rows there are may decide between the two. Include tiles.h first.
//
// A group is one product: 16 rows by 16 columns, 32 numbers along K. Its sums leave their tile before the next group's,
// since each has its own scales. That takes longer than the product, and is still faster than sums in vectors from nine
// rows on.
#pragma once

#include "amx.h"
#include "scratch.h"
#include "tiles.h"

namespace {

// Fewer rows are faster in vectors.
constexpr int64_t kFewestCodedRows = 9;
// Groups whose products are taken out together: with their sums they stay in the first cache.
constexpr int64_t kGroupsTogether = 10;
constexpr int64_t kGroupSums = kTileRows * kColumns;

// Some groups of sixteen columns, ready to be multiplied.
struct alignas(64) OpenGroups {
  uint8_t codes[kGroupsTogether][kColumns * kGroup];
  float scales[kGroupsTogether][kColumns], minima[kGroupsTogether][kColumns];
  int32_t sums[kGroupsTogether][kGroupSums];
};

// ---- activations ----

// codes int8 [M/16][K/32][16][32], scales and sums float32 [M/16][K/32][16]
Activations plan_coded(const float* x, int64_t rows, int64_t k, char* scratch) {
  const int64_t filled = (rows + kTileRows - 1) / kTileRows * kTileRows;
  Activations made = plan(Format::q8_0, Precision::coded, x, filled, k, scratch);
  made.rows = rows;
  made.together = kTileRows;
  return made;
}

void prepare_coded(const Activations& plan, const float* x, int64_t begin, int64_t end) {
  const int64_t groups = plan.k / kGroup;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t place = (row / kTileRows * groups + g) * kTileRows + row % kTileRows;
      code_group(x + row * plan.k + g * kGroup, const_cast<int8_t*>(plan.codes) + place * kGroup,
                 const_cast<float*>(plan.scales) + place, const_cast<float*>(plan.sums) + place);
    }
  }
}

// ---- products ----

// Returns where the codes of the first group lie, and how far apart groups are. A tile takes them as the matrix has
// them if each has a byte of its own.
template <Format format>
inline const uint8_t* open_groups(const char* from, int64_t count, OpenGroups& to, int64_t& apart) {
  for (int64_t g = 0; g < count; ++g) {
    const Group<format> group(from + g * Group<format>::kBytes);
    Lanes::store(to.scales[g], group.scales);
    Lanes::store(to.minima[g], group.minima);
    for (int quad = 0; quad < 8 && Grouped<format>::paired; ++quad) {
      _mm512_store_si512(to.codes[g] + 64 * quad, group.codes[quad]);
    }
  }
  apart = Grouped<format>::paired ? kColumns * kGroup : Group<format>::kBytes;
  return Grouped<format>::paired ? to.codes[0] : reinterpret_cast<const uint8_t*>(from);
}

// Sums of a tile of rows, a group after the other; two of them go side by side, since a product is long under way.
inline void sum_groups(const int8_t* rows, const uint8_t* codes, int64_t apart, int64_t count, OpenGroups& to,
                       Ahead& ahead) {
  for (int64_t g = 0; g < count; g += 2) {
    const bool are_two = g + 1 < count;
    ahead.fetch();
    _tile_zero(0);
    _tile_loadd(2, rows + g * kTileRows * kGroup, kGroup);
    _tile_loadd(4, codes + g * apart, 4 * kColumns);
    _tile_dpbsud(0, 2, 4);
    if (are_two) {
      ahead.fetch();
      _tile_zero(1);
      _tile_loadd(3, rows + (g + 1) * kTileRows * kGroup, kGroup);
      _tile_loadd(5, codes + (g + 1) * apart, 4 * kColumns);
      _tile_dpbsud(1, 3, 5);
      _tile_stored(1, to.sums[g + 1], 4 * kColumns);
    }
    _tile_stored(0, to.sums[g], 4 * kColumns);
  }
}

// Adds what `count` groups give for some rows of a tile to out[rows, 16].
template <int rows>
inline void scale_sums(const OpenGroups& groups, int64_t count, int64_t row, const float* scales, const float* sums,
                       float* out, Ahead& ahead) {
  Lanes::Floats total[rows];
  for (int r = 0; r < rows; ++r) total[r] = Lanes::load(out + (row + r) * kColumns);
  for (int64_t g = 0; g < count; ++g) {
    ahead.fetch();
    const Lanes::Floats scale = Lanes::load(groups.scales[g]), minimum = Lanes::load(groups.minima[g]);
    for (int r = 0; r < rows; ++r) {
      const int64_t place = g * kTileRows + row + r;
      const Lanes::Floats sum = Lanes::to_floats(_mm512_load_si512(groups.sums[g] + (row + r) * kColumns));
      total[r] = Lanes::fma(sum, Lanes::multiply(scale, Lanes::broadcast(scales[place])), total[r]);
      total[r] = Lanes::fma(minimum, Lanes::broadcast(sums[place]), total[r]);
    }
  }
  for (int r = 0; r < rows; ++r) Lanes::store(out + (row + r) * kColumns, total[r]);
}

// The same for the first `rows` rows of a tile.
inline void scale_sums(const OpenGroups& groups, int64_t count, int64_t rows, const float* scales, const float* sums,
                       float* out, Ahead& ahead) {
  if (rows >= 16) return scale_sums<16>(groups, count, 0, scales, sums, out, ahead);
  int64_t row = 0;
  for (; row + 8 <= rows; row += 8) scale_sums<8>(groups, count, row, scales, sums, out, ahead);
  for (; row + 4 <= rows; row += 4) scale_sums<4>(groups, count, row, scales, sums, out, ahead);
  for (; row < rows; ++row) scale_sums<1>(groups, count, row, scales, sums, out, ahead);
}

// Sixteen columns, to y[rows, columns] with a stride of n.
template <Format format>
inline void multiply_coded(const Activations& x, const char* from, float* y, int64_t n, int64_t columns) {
  const int64_t groups = x.k / kGroup, row_tiles = (x.rows + kTileRows - 1) / kTileRows;
  const int64_t out_bytes = row_tiles * kGroupSums * static_cast<int64_t>(sizeof(float));
  auto* out = reinterpret_cast<float*>(sgl::scratch(sgl::Purpose::columns, out_bytes + sizeof(OpenGroups)));
  auto& open = *reinterpret_cast<OpenGroups*>(out + row_tiles * kGroupSums);
  std::memset(out, 0, static_cast<size_t>(out_bytes));
  const int64_t turns = (groups + kGroupsTogether - 1) / kGroupsTogether, together = (groups + turns - 1) / turns;
  for (int64_t first = 0; first < groups; first += together) {
    const int64_t count = groups - first < together ? groups - first : together;
    const char* matrix = from + first * Group<format>::kBytes;
    Ahead ahead(matrix, count * Group<format>::kBytes, 1, 0, 2 * row_tiles * count);
    int64_t apart;
    const uint8_t* codes = open_groups<format>(matrix, count, open, apart);
    for (int64_t tile = 0; tile < row_tiles; ++tile) {
      const int64_t place = (tile * groups + first) * kTileRows;
      sum_groups(x.codes + place * kGroup, codes, apart, count, open, ahead);
      scale_sums(open, count, x.rows - tile * kTileRows, x.scales + place, x.sums + place, out + tile * kGroupSums,
                 ahead);
    }
  }
  for (int64_t row = 0; row < x.rows; ++row) store_columns(y + row * n, Lanes::load(out + row * kColumns), columns);
}

void multiply_coded(Format format, const Activations& x, const char* tiles, int64_t begin, int64_t end, float* y,
                    int64_t n) {
  const auto rows = static_cast<uint8_t>(x.rows < kTileRows ? x.rows : kTileRows);
  const TileShape sums{rows, 4 * kColumns}, left{rows, kGroup}, right{kGroup / 4, 4 * kColumns};
  const TileShapes shapes({sums, sums, left, left, right, right});
  const int64_t block_bytes = sgl::column_block_bytes(format, x.k);
  for (int64_t block = begin; block < end; ++block) {
    const char* from = tiles + block * block_bytes;
    float* to = y + block * kColumns;
    const int64_t columns = n - block * kColumns;
    switch (format) {
      case Format::q4_1:
        multiply_coded<Format::q4_1>(x, from, to, n, columns);
        break;
      case Format::q4_0:
        multiply_coded<Format::q4_0>(x, from, to, n, columns);
        break;
      default:
        multiply_coded<Format::q8_0>(x, from, to, n, columns);
    }
  }
}

}  // namespace
