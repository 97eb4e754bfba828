// Products by AMX, whose tiles are 16 rows of activations by 16 columns, in pairs of bfloat16 along K. Include tiles.h
// first: what has no tiles is left to its kernels.
//
// A matrix of bfloat16 is arranged (matmul.h) as tiles are, and they are loaded from where it lies. One in groups is
// brought into that form before, sixteen columns at a time, which many rows then share. Rows of activations that do not
// fill a tile are filled up with zeros; each row is summed by itself, whatever lies beside it, in the order of K.
#pragma once

#include "amx.h"
#include "coded_amx.h"
#include "scratch.h"
#include "tiles.h"

namespace {

// Neighbours along K that a tile has of each row or column.
constexpr int64_t kTileDepth = 32;
constexpr int64_t kTileElements = kTileRows * kTileDepth;

// ---- sixteen columns as tiles: [K / 32] x 16 rows of 16 pairs ----

// Floats that are exactly 128 plus the number at bits 16 to 22, or 256 plus that at bits 15 to 22.
template <int bits>
inline __m512 raised(__m512i words) {
  const __m512i mask = _mm512_set1_epi32(bits == 4 ? 0x000F0000 : 0x007F8000);
  const __m512i power = _mm512_set1_epi32(bits == 4 ? 0x43000000 : 0x43800000);
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(words, mask, power, 0xEA));  // words & mask | power
}

// Pairs of bfloat16, rounded to the nearest, halves away from zero: faster than the processor's own rounding to even,
// whose results lie in another order.
inline __m512i pairs_of(__m512 first, __m512 second) {
  const __m512i half = _mm512_set1_epi32(0x8000), upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000u));
  const __m512i low = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(first), half), 16);
  const __m512i high = _mm512_add_epi32(_mm512_castps_si512(second), half);
  return _mm512_ternarylogic_epi32(high, upper, low, 0xEA);  // high & upper | low
}

// One group, which is a tile.
template <Format format>
inline void widen_group(const char* from, uint16_t* tile) {
  constexpr bool is_paired = Grouped<format>::paired;
  const auto* halfs = reinterpret_cast<const uint16_t*>(from + Group<format>::kCodeBytes);
  const __m512 scales = Lanes::load_halfs(halfs);
  const __m512 zero = Lanes::broadcast(-(is_paired ? 128.0f : 256.0f) - Grouped<format>::zero);
  const __m512 minima = Grouped<format>::has_minima ? Lanes::load_halfs(halfs + kColumns) : Lanes::zero();
  const __m512 offset = Lanes::fma(scales, zero, minima);
  const auto value = [&](__m512i words) { return Lanes::fma(raised<is_paired ? 4 : 8>(words), scales, offset); };
  const auto put = [&](int pair, __m512i first, __m512i second) {
    _mm512_store_si512(tile + 32 * pair, pairs_of(value(first), value(second)));
  };
  for (int quad = 0; quad < (is_paired ? 4 : 8); ++quad) {
    const __m512i word = _mm512_loadu_si512(from + 64 * quad);
    if (is_paired) {  // of byte b: code 4 quad + b in the low half, 16 more in the high half
      put(2 * quad, _mm512_slli_epi32(word, 16), _mm512_slli_epi32(word, 8));
      put(2 * quad + 1, word, _mm512_srli_epi32(word, 8));
      put(2 * quad + 8, _mm512_slli_epi32(word, 12), _mm512_slli_epi32(word, 4));
      put(2 * quad + 9, _mm512_srli_epi32(word, 4), _mm512_srli_epi32(word, 12));
    } else {
      put(2 * quad, _mm512_slli_epi32(word, 15), _mm512_slli_epi32(word, 7));
      put(2 * quad + 1, _mm512_srli_epi32(word, 1), _mm512_srli_epi32(word, 9));
    }
  }
}

template <Format format>
inline void widen_groups(const char* from, int64_t first, int64_t count, uint16_t* to, Ahead& ahead) {
  for (int64_t g = first; g < first + count; ++g, to += kTileElements) {
    ahead.fetch();
    widen_group<format>(from + g * Group<format>::kBytes, to);
  }
}

inline int64_t tiles_along(int64_t k) { return (k + kTileDepth - 1) / kTileDepth; }

// Where tiles [first, first + count) of sixteen columns lie: within the matrix if it has them, else in `scratch`.
inline const uint16_t* column_tiles(Format format, const char* from, int64_t k, int64_t first, int64_t count,
                                    uint16_t* scratch, Ahead& ahead) {
  switch (format) {
    case Format::q4_1:
      return widen_groups<Format::q4_1>(from, first, count, scratch, ahead), scratch;
    case Format::q4_0:
      return widen_groups<Format::q4_0>(from, first, count, scratch, ahead), scratch;
    case Format::q8_0:
      return widen_groups<Format::q8_0>(from, first, count, scratch, ahead), scratch;
    default: {
      const auto* lies = reinterpret_cast<const uint16_t*>(from) + first * kTileElements;
      if ((first + count) * kTileDepth <= k) return lies;
      const int64_t has = sgl::column_block_bytes(format, k) - first * kTileElements * 2;
      std::memcpy(scratch, lies, static_cast<size_t>(has));
      std::memset(reinterpret_cast<char*>(scratch) + has, 0, static_cast<size_t>(count * kTileElements * 2 - has));
      return scratch;
    }
  }
}

// ---- products of tiles ----

// Tiles along K that a few columns go through before the next ones are looked at. With their like of the rows they stay
// in the first cache.
constexpr int64_t kTilesTogether = 10;

// Where products of tiles go: rows of floats, `stride` from each other.
struct Place {
  float* floats;
  int64_t stride;

  float* tile(int64_t row, int64_t column) const { return floats + row * kTileRows * stride + column * kColumns; }
};

// Up to two tiles of rows, `apart` numbers from each other, by two of columns, `count` tiles along K; the products are
// added to those that lie at their place, or are the first that go there.
template <int R, int C>
inline void multiply_tiles(const uint16_t* rows, int64_t apart, const uint16_t* const columns[2], int64_t count,
                           const Place& to, bool are_first, Ahead& ahead) {
  const uint16_t *below = rows + apart, *left = columns[0], *right = columns[1];
  const auto stride = to.stride * static_cast<int64_t>(sizeof(float));
  // Numbers of tiles are part of the instructions: 0 to 3 are sums, 4 and 5 rows, 6 and 7 columns.
  if (are_first) {
    _tile_zero(0);
    if (C > 1) _tile_zero(1);
    if (R > 1) _tile_zero(2);
    if (R > 1 && C > 1) _tile_zero(3);
  } else {
    _tile_loadd(0, to.tile(0, 0), stride);
    if (C > 1) _tile_loadd(1, to.tile(0, 1), stride);
    if (R > 1) _tile_loadd(2, to.tile(1, 0), stride);
    if (R > 1 && C > 1) _tile_loadd(3, to.tile(1, 1), stride);
  }
  for (int64_t at = 0; at < count * kTileElements; at += kTileElements) {
    ahead.fetch();
    _tile_loadd(4, rows + at, 64);
    _tile_loadd(6, left + at, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (C > 1) _tile_loadd(7, right + at, 64);
    if (C > 1) _tile_dpbf16ps(1, 4, 7);
    if (R > 1) _tile_loadd(5, below + at, 64);
    if (R > 1) _tile_dpbf16ps(2, 5, 6);
    if (R > 1 && C > 1) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, to.tile(0, 0), stride);
  if (C > 1) _tile_stored(1, to.tile(0, 1), stride);
  if (R > 1) _tile_stored(2, to.tile(1, 0), stride);
  if (R > 1 && C > 1) _tile_stored(3, to.tile(1, 1), stride);
}

// C blocks of columns, the first of them at `from`, to y[rows, columns] with a stride of n. Whole tiles are summed
// where they belong, others beside.
template <int C>
inline void multiply_columns(Format format, const Activations& x, const char* from, float* y, int64_t n,
                             int64_t columns) {
  constexpr int64_t kWidth = C * kColumns;
  const int64_t depth = tiles_along(x.k), block_bytes = sgl::column_block_bytes(format, x.k);
  const int64_t apart = depth * kTileElements, row_tiles = (x.rows + kTileRows - 1) / kTileRows;
  const bool is_grouped = sgl::is_grouped(format);
  // A matrix that has tiles of its own, and goes past one tile of rows, need not stay in the cache.
  const int64_t turns = row_tiles == 1 && !is_grouped ? 1 : (depth + kTilesTogether - 1) / kTilesTogether;
  const int64_t together = (depth + turns - 1) / turns, scratch_elements = together * kTileElements;
  const int64_t whole_rows = columns < kWidth ? 0 : x.rows / kTileRows / 2 * 2 * kTileRows;
  const int64_t rest = row_tiles * kTileRows - whole_rows;
  const int64_t rest_bytes = rest * kWidth * static_cast<int64_t>(sizeof(float));
  auto* sums = reinterpret_cast<float*>(sgl::scratch(sgl::Purpose::columns, rest_bytes + 2 * C * scratch_elements));
  auto* scratch = reinterpret_cast<uint16_t*>(sums + rest * kWidth);
  for (int64_t first = 0; first < depth; first += together) {
    const int64_t count = depth - first < together ? depth - first : together;
    const int64_t turn_bytes = count * block_bytes / depth, widened = is_grouped ? C : 0;
    Ahead ahead(from + first * block_bytes / depth, turn_bytes, C, block_bytes,
                count * (widened + (row_tiles + 1) / 2));
    const uint16_t* tiles[2] = {};
    for (int c = 0; c < C; ++c) {
      tiles[c] = column_tiles(format, from + c * block_bytes, x.k, first, count, scratch + c * scratch_elements,
                              ahead);
    }
    for (int64_t tile = 0; tile < row_tiles; tile += 2) {
      const uint16_t* rows = x.tiles + tile * apart + first * kTileElements;
      const int64_t row = tile * kTileRows;
      const Place to = row < whole_rows ? Place{y + row * n, n} : Place{sums + (row - whole_rows) * kWidth, kWidth};
      tile + 1 < row_tiles ? multiply_tiles<2, C>(rows, apart, tiles, count, to, first == 0, ahead)
                           : multiply_tiles<1, C>(rows, apart, tiles, count, to, first == 0, ahead);
    }
  }
  for (int64_t row = whole_rows; row < x.rows; ++row, sums += kWidth) {
    for (int64_t at = 0; at < kWidth && at < columns; at += kColumns) {
      store_columns(y + row * n + at, Lanes::load(sums + at), columns - at);
    }
  }
}

void multiply_tiled(Format format, Precision precision, const Activations& x, const char* tiles, int64_t begin,
                    int64_t end, float* y, int64_t n) {
  if (x.together > 1) return multiply_coded(format, x, tiles, begin, end, y, n);
  if (x.tiles == nullptr) return multiply(format, precision, x, tiles, begin, end, y, n);
  const TileShapes shapes;
  const int64_t block_bytes = sgl::column_block_bytes(format, x.k);
  for (int64_t block = begin; block < end;) {
    const char* from = tiles + block * block_bytes;
    float* to = y + block * kColumns;
    const int64_t columns = n - block * kColumns;
    if (x.rows > kTileRows && block + 1 < end) {
      multiply_columns<2>(format, x, from, to, n, columns);
      block += 2;
    } else {  // one stream is read faster than two
      multiply_columns<1>(format, x, from, to, n, columns);
      block += 1;
    }
  }
}

// ---- activations ----

Activations plan_tiled(Format format, Precision precision, const float* x, int64_t rows, int64_t k, char* scratch) {
  if (sgl::is_grouped(format) && precision == Precision::coded && rows >= kFewestCodedRows) {
    return plan_coded(x, rows, k, scratch);
  }
  if (format == Format::f32 || (sgl::is_grouped(format) && precision != Precision::paired)) {
    return plan(format, precision, x, rows, k, scratch);
  }
  Activations made;
  made.rows = rows;
  made.k = k;
  made.tiles = reinterpret_cast<uint16_t*>(aligned(scratch));
  return made;
}

// A row, a tile's width of it after the other. Null is a row of zeros.
void lay_row(const float* x, int64_t k, uint16_t* to) {
  int64_t at = 0;
  for (; at + kTileDepth <= k; at += kTileDepth, to += kTileElements) {
    const Lanes::Floats low = x == nullptr ? Lanes::zero() : Lanes::load(x + at);
    const Lanes::Floats high = x == nullptr ? Lanes::zero() : Lanes::load(x + at + 16);
    _mm512_store_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
  }
  if (at == k) return;
  float rest[kTileDepth] = {};
  if (x != nullptr) std::memcpy(rest, x + at, static_cast<size_t>(k - at) * sizeof(float));
  lay_row(rest, kTileDepth, to);
}

void prepare_tiled(Format format, const Activations& plan, const float* x, int64_t begin, int64_t end) {
  if (plan.together > 1) return prepare_coded(plan, x, begin, end);
  if (plan.tiles == nullptr) return prepare(format, plan, x, begin, end);
  const int64_t k = plan.k, depth = tiles_along(k);
  // Whoever lays the last row lays the zeros that fill its tile, too.
  const int64_t filled = end == plan.rows ? (end + kTileRows - 1) / kTileRows * kTileRows : end;
  for (int64_t row = begin; row < filled; ++row) {
    auto* tiles = const_cast<uint16_t*>(plan.tiles) + row / kTileRows * depth * kTileElements;
    lay_row(row < end ? x + row * k : nullptr, k, tiles + row % kTileRows * kTileDepth);
  }
}

}  // namespace
