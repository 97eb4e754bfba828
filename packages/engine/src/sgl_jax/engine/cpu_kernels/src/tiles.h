// The kernels of matmul.h, written in the operations of `Lanes`: include one of lanes_*.h first.
//
// A kernel computes a tile: a few rows of activations times sixteen columns, over all of K. The matrix is read once for
// each tile, so columns are the outer loop and the rows of a column block find it in the cache. Everything has internal
// linkage (see isa.h).
#pragma once

#include <cstdint>
#include <cstring>

#include "matmul.h"

namespace {

using sgl::Activations;
using sgl::Format;
using sgl::kColumns;
using sgl::kGroup;

// How far ahead of its use a matrix is fetched: a stream from memory needs about a microsecond of it under way.
constexpr int64_t kPrefetchBytes = 4096;

inline void prefetch(const char* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(from + kPrefetchBytes + at);
}

inline int32_t read_int(const void* from) {
  int32_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// ---- matrices in groups of 32 with a scale of their own ----

template <Format format>
struct Grouped;

template <>
struct Grouped<Format::q4_1> {
  static constexpr bool paired = true, has_minima = true;
  static constexpr float zero = 0.0f;
};
template <>
struct Grouped<Format::q4_0> {
  static constexpr bool paired = true, has_minima = false;
  static constexpr float zero = 8.0f;
};
template <>
struct Grouped<Format::q8_0> {
  static constexpr bool paired = false, has_minima = false;
  static constexpr float zero = 128.0f;
};

// One group of sixteen columns: value = code * scale + minimum.
template <Format format>
struct Group {
  static constexpr int64_t kCodeBytes = Grouped<format>::paired ? 256 : 512;
  static constexpr int64_t kBytes = kCodeBytes + (Grouped<format>::has_minima ? 64 : 32);

  Lanes::Quads codes[8];  // number q of a column: its codes 4q to 4q+3
  Lanes::Floats scales, minima;

  explicit Group(const char* from) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(from);
    if (Grouped<format>::paired) {
      for (int quad = 0; quad < 4; ++quad) {
        const Lanes::Quads both = Lanes::load_quads(bytes + 64 * quad);
        codes[quad] = Lanes::low_nibbles(both);
        codes[quad + 4] = Lanes::high_nibbles(both);
      }
    } else {
      for (int quad = 0; quad < 8; ++quad) codes[quad] = Lanes::load_quads(bytes + 64 * quad);
    }
    const auto* halfs = reinterpret_cast<const uint16_t*>(from + kCodeBytes);
    scales = Lanes::load_halfs(halfs);
    // A format without minima counts from its zero, which is a minimum too.
    minima = Grouped<format>::has_minima ? Lanes::load_halfs(halfs + kColumns)
                                         : Lanes::multiply(scales, Lanes::broadcast(-Grouped<format>::zero));
  }
};

// Activations as codes: products of a group are summed in integers, then scaled.
template <Format format, int rows>
void tile_coded(const Activations& x, int64_t row, const char* tiles, Lanes::Floats* out) {
  const int64_t groups = x.k / kGroup;
  for (int r = 0; r < rows; ++r) out[r] = Lanes::zero();
  for (int64_t g = 0; g < groups; ++g) {
    const char* at = tiles + g * Group<format>::kBytes;
    prefetch(at, Group<format>::kBytes);
    const Group<format> group(at);
    for (int r = 0; r < rows; ++r) {
      const int8_t* codes = x.codes + (row + r) * x.k + g * kGroup;
      // Two sums, so that one product need not wait for the other.
      Lanes::Ints even = Lanes::zero_ints(), odd = even;
      for (int quad = 0; quad < 8; quad += 2) {
        constexpr bool small = Grouped<format>::paired;
        even = Lanes::dot<small>(even, group.codes[quad], read_int(codes + 4 * quad));
        odd = Lanes::dot<small>(odd, group.codes[quad + 1], read_int(codes + 4 * quad + 4));
      }
      const Lanes::Floats sum = Lanes::to_floats(Lanes::add_ints(even, odd));
      const int64_t place = (row + r) * groups + g;
      out[r] = Lanes::fma(sum, Lanes::multiply(group.scales, Lanes::broadcast(x.scales[place])), out[r]);
      out[r] = Lanes::fma(group.minima, Lanes::broadcast(x.sums[place]), out[r]);
    }
  }
}

// Activations as they are.
template <Format format, int rows>
void tile_exact(const Activations& x, int64_t row, const char* tiles, Lanes::Floats* out) {
  const int64_t groups = x.k / kGroup;
  for (int r = 0; r < rows; ++r) out[r] = Lanes::zero();
  for (int64_t g = 0; g < groups; ++g) {
    const char* at = tiles + g * Group<format>::kBytes;
    prefetch(at, Group<format>::kBytes);
    const Group<format> group(at);
    const float* values = x.floats + row * x.k + g * kGroup;
    Lanes::Floats sum[rows];
    for (int r = 0; r < rows; ++r) sum[r] = Lanes::zero();
    for (int quad = 0; quad < 8; ++quad) {
      const Lanes::Floats code[4] = {
          Lanes::code_floats<0>(group.codes[quad]), Lanes::code_floats<1>(group.codes[quad]),
          Lanes::code_floats<2>(group.codes[quad]), Lanes::code_floats<3>(group.codes[quad])};
      for (int r = 0; r < rows; ++r) {
        for (int byte = 0; byte < 4; ++byte) {
          sum[r] = Lanes::fma(code[byte], Lanes::broadcast(values[r * x.k + 4 * quad + byte]), sum[r]);
        }
      }
    }
    for (int r = 0; r < rows; ++r) {
      out[r] = Lanes::fma(sum[r], group.scales, out[r]);
      out[r] = Lanes::fma(group.minima, Lanes::broadcast(x.sums[(row + r) * groups + g]), out[r]);
    }
  }
}

// ---- plain matrices: `blocks` times sixteen columns at once, which share the activations ----

template <int rows, int blocks>
void tile_f32(const Activations& x, int64_t row, const char* tiles, Lanes::Floats* out) {
  const auto* weights = reinterpret_cast<const float*>(tiles);
  const float* values = x.floats + row * x.k;
  for (int i = 0; i < rows * blocks; ++i) out[i] = Lanes::zero();
  for (int64_t k = 0; k < x.k; ++k) {
    Lanes::Floats w[blocks];
    for (int b = 0; b < blocks; ++b) {
      const float* at = weights + (b * x.k + k) * kColumns;
      __builtin_prefetch(reinterpret_cast<const char*>(at) + kPrefetchBytes);
      w[b] = Lanes::load(at);
    }
    for (int r = 0; r < rows; ++r) {
      const Lanes::Floats value = Lanes::broadcast(values[r * x.k + k]);
      for (int b = 0; b < blocks; ++b) out[r * blocks + b] = Lanes::fma(w[b], value, out[r * blocks + b]);
    }
  }
}

template <int rows, int blocks>
void tile_bf16(const Activations& x, int64_t row, const char* tiles, Lanes::Floats* out) {
  const auto* weights = reinterpret_cast<const uint16_t*>(tiles);
  const int64_t pairs = (x.k + 1) / 2;
  for (int i = 0; i < rows * blocks; ++i) out[i] = Lanes::zero();
  for (int64_t p = 0; p < pairs; ++p) {
    Lanes::Quads w[blocks];
    for (int b = 0; b < blocks; ++b) {
      const uint16_t* at = weights + (b * pairs + p) * 2 * kColumns;
      __builtin_prefetch(reinterpret_cast<const char*>(at) + kPrefetchBytes);
      w[b] = Lanes::load_pairs(at);
    }
#if defined(__AVX512BF16__)
    for (int r = 0; r < rows; ++r) {
      const int32_t two = read_int(x.pairs + (row + r) * 2 * pairs + 2 * p);
      for (int b = 0; b < blocks; ++b) out[r * blocks + b] = Lanes::dot_pairs(out[r * blocks + b], w[b], two);
    }
#else
    Lanes::Floats first[blocks], second[blocks];
    for (int b = 0; b < blocks; ++b) {
      first[b] = Lanes::first_of_pairs(w[b]);
      second[b] = Lanes::second_of_pairs(w[b]);
    }
    for (int r = 0; r < rows; ++r) {
      const float* values = x.floats + (row + r) * x.k + 2 * p;
      const Lanes::Floats one = Lanes::broadcast(values[0]);
      const Lanes::Floats two = Lanes::broadcast(2 * p + 1 < x.k ? values[1] : 0.0f);
      for (int b = 0; b < blocks; ++b) {
        Lanes::Floats& sum = out[r * blocks + b];
        sum = Lanes::fma(second[b], two, Lanes::fma(first[b], one, sum));
      }
    }
#endif
  }
}

// ---- from tiles to products ----

template <int rows, int blocks>
void tile(Format format, bool exact, const Activations& x, int64_t row, const char* tiles, Lanes::Floats* out) {
  if constexpr (blocks == 1) {
    switch (format) {
      case Format::q4_1:
        return exact ? tile_exact<Format::q4_1, rows>(x, row, tiles, out)
                     : tile_coded<Format::q4_1, rows>(x, row, tiles, out);
      case Format::q4_0:
        return exact ? tile_exact<Format::q4_0, rows>(x, row, tiles, out)
                     : tile_coded<Format::q4_0, rows>(x, row, tiles, out);
      case Format::q8_0:
        return exact ? tile_exact<Format::q8_0, rows>(x, row, tiles, out)
                     : tile_coded<Format::q8_0, rows>(x, row, tiles, out);
      default:
        break;
    }
  }
  return format == Format::bf16 ? tile_bf16<rows, blocks>(x, row, tiles, out)
                                : tile_f32<rows, blocks>(x, row, tiles, out);
}

// One tile, and its result in y.
template <int rows, int blocks>
void tile_to(Format format, bool exact, const Activations& x, int64_t row, const char* tiles, int64_t column, float* y,
             int64_t n) {
  Lanes::Floats out[rows * blocks];
  tile<rows, blocks>(format, exact, x, row, tiles, out);
  for (int r = 0; r < rows; ++r) {
    for (int b = 0; b < blocks; ++b) {
      const int64_t first = column + b * kColumns;
      float* to = y + (row + r) * n + first;
      if (n - first >= kColumns) {
        Lanes::store(to, out[r * blocks + b]);
      } else {
        Lanes::store_first(to, out[r * blocks + b], static_cast<int>(n - first));
      }
    }
  }
}

// All rows times `blocks` blocks of columns.
template <int blocks>
void all_rows(Format format, bool exact, const Activations& x, const char* tiles, int64_t column, float* y, int64_t n) {
  int64_t row = 0;
  if constexpr (Lanes::kMostRows >= 8) {
    for (; row + 8 <= x.rows; row += 8) tile_to<8, blocks>(format, exact, x, row, tiles, column, y, n);
  }
  for (; row + 4 <= x.rows; row += 4) tile_to<4, blocks>(format, exact, x, row, tiles, column, y, n);
  for (; row + 2 <= x.rows; row += 2) tile_to<2, blocks>(format, exact, x, row, tiles, column, y, n);
  if (row < x.rows) tile_to<1, blocks>(format, exact, x, row, tiles, column, y, n);
}

void multiply(Format format, bool exact, const Activations& x, const char* tiles, int64_t begin, int64_t end, float* y,
              int64_t n) {
  const int64_t block_bytes = sgl::column_block_bytes(format, x.k);
  int64_t block = begin;
  if (!sgl::is_grouped(format)) {
    // Two accumulators a row hide the time that a product takes; four, where a single row leaves room for them.
    if (x.rows == 1) {
      for (; block + 4 <= end; block += 4) {
        tile_to<1, 4>(format, exact, x, 0, tiles + block * block_bytes, block * kColumns, y, n);
      }
    }
    for (; block + 2 <= end; block += 2) {
      all_rows<2>(format, exact, x, tiles + block * block_bytes, block * kColumns, y, n);
    }
  }
  for (; block < end; ++block) {
    all_rows<1>(format, exact, x, tiles + block * block_bytes, block * kColumns, y, n);
  }
}

// ---- activations ----

inline char* aligned(char* at) { return at + (-reinterpret_cast<uintptr_t>(at) & 63); }

Activations plan(Format format, bool exact, const float* x, int64_t rows, int64_t k, char* scratch) {
  Activations made;
  made.rows = rows;
  made.k = k;
  if (sgl::is_grouped(format)) {
    const int64_t groups = k / kGroup;
    char* scales = aligned(scratch);
    char* sums = aligned(scales + rows * groups * 4);
    made.sums = reinterpret_cast<float*>(sums);
    if (exact) {
      made.floats = x;
    } else {
      made.scales = reinterpret_cast<float*>(scales);
      made.codes = reinterpret_cast<int8_t*>(aligned(sums + rows * groups * 4));
    }
  } else if (format == Format::bf16 && Lanes::kPairProducts) {
    made.pairs = reinterpret_cast<uint16_t*>(aligned(scratch));
  } else {
    made.floats = x;
  }
  return made;
}

// A group whose largest magnitude is below this counts as zero: its inverse would overflow.
constexpr float kSmallest = 1e-30f;

inline void code_group(const float* x, int8_t* codes, float* scale, float* weighted_sum) {
  const Lanes::Floats low = Lanes::load(x), high = Lanes::load(x + 16);
  const float largest = Lanes::largest_of(Lanes::largest_magnitude(low, high));
  // Zero, but NaN if any of them is not finite.
  const Lanes::Floats none = Lanes::zero();
  const float poison = Lanes::sum_of(Lanes::fma(low, none, Lanes::multiply(high, none)));
  const Lanes::Floats inverse = Lanes::broadcast(largest > kSmallest ? 127.0f / largest : 0.0f);
  int32_t sum = Lanes::store_rounded(codes, Lanes::multiply(low, inverse));
  sum += Lanes::store_rounded(codes + 16, Lanes::multiply(high, inverse));
  *scale = largest / 127.0f + poison;
  *weighted_sum = *scale * static_cast<float>(sum);
}

#if defined(__AVX512BF16__)
void round_to_bf16(const float* x, int64_t k, uint16_t* to) {
  int64_t at = 0;
  for (; at + 16 <= k; at += 16) Lanes::store_bf16(to + at, Lanes::load(x + at));
  if (at == k) return;
  float rest[16] = {};
  uint16_t rounded[16];
  std::memcpy(rest, x + at, static_cast<size_t>(k - at) * sizeof(float));
  Lanes::store_bf16(rounded, Lanes::load(rest));
  std::memcpy(to + at, rounded, static_cast<size_t>((k - at + 1) / 2 * 2) * sizeof(uint16_t));
}
#endif

void prepare(Format format, const Activations& plan, const float* x, int64_t begin, int64_t end) {
  const int64_t k = plan.k, groups = k / kGroup;
  for (int64_t row = begin; row < end; ++row) {
    const float* from = x + row * k;
    if (plan.codes != nullptr) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t place = row * groups + g;
        code_group(from + g * kGroup, const_cast<int8_t*>(plan.codes) + row * k + g * kGroup,
                   const_cast<float*>(plan.scales) + place, const_cast<float*>(plan.sums) + place);
      }
    } else if (plan.sums != nullptr) {
      for (int64_t g = 0; g < groups; ++g) {
        const float* values = from + g * kGroup;
        const_cast<float*>(plan.sums)[row * groups + g] =
            Lanes::sum_of(Lanes::add(Lanes::load(values), Lanes::load(values + 16)));
      }
    }
#if defined(__AVX512BF16__)
    if (plan.pairs != nullptr) round_to_bf16(from, k, const_cast<uint16_t*>(plan.pairs) + row * ((k + 1) / 2 * 2));
#endif
  }
}

}  // namespace
