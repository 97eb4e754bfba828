// The kernels of matmul.h, written in the operations of `Lanes`: include one of lanes_*.h first.
//
// A kernel computes a tile: a few rows of activations times sixteen columns, over all of K. The matrix is read once for
// each tile, so columns are the outer loop and the rows of a column block find it in the cache. Everything has internal
// linkage (see isa.h).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "isa.h"
#include "matmul.h"

namespace {

using sgl::Activations;
using sgl::Format;
using sgl::kColumns;
using sgl::kGroup;
using sgl::Precision;

// How far ahead of its use a matrix is fetched. A machine sees for itself that a matrix is read from its first byte to
// its last. For a single row AMD's are better left alone (32 GB/s of bfloat16 on a Zen 4 core, for 29 with this), but
// not Intel's (36 GB/s of Q4_1 on two cores of a Xeon with AMX, for 23 without). Several rows keep the core busy for so
// long between two loads that it does not look far enough.
constexpr int64_t kPrefetchBytes = 8192;

// For the first of several tiles that share sixteen columns; the others find them in the cache. They come into the
// second one: a request for the first one, where there are few under way at a time, holds up the loads. Eight rows of
// four-bit codes read so slowly that it does not. GCC drops calls of functions that do nothing but prefetch, unless
// they are inlined before it looks.
template <int rows, bool slow = false>
__attribute__((always_inline)) inline void prefetch(int64_t row, const void* from, int64_t bytes) {
  if ((rows == 1 && !sgl::wants_fetching) || row != 0) return;
  const char* ahead = static_cast<const char*>(from) + kPrefetchBytes;
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(ahead + at, 0, slow && rows >= 8 ? 3 : 2);
}

// The same for tiles of many rows, a few lines at each call: many at once hold up what is loaded meanwhile.
class Ahead {
 public:
  // What lies ahead of the next `bytes` of some streams, which are `apart` bytes from each other, in so many calls.
  Ahead(const char* from, int64_t bytes, int64_t streams, int64_t apart, int64_t calls)
      : next_(from + kPrefetchBytes), bytes_(bytes), left_(bytes), streams_(streams), apart_(apart) {
    lines_ = (streams * bytes / kLine + calls - 1) / calls;
  }

  __attribute__((always_inline)) inline void fetch() {
    for (int64_t line = 0; line < lines_ && streams_ > 0; ++line) {
      __builtin_prefetch(next_, 0, 2);
      next_ += kLine;
      left_ -= kLine;
      if (left_ > 0) continue;
      next_ += apart_ - bytes_ + left_;
      left_ = bytes_;
      --streams_;
    }
  }

 private:
  static constexpr int64_t kLine = 64;
  const char* next_;
  int64_t bytes_, left_, streams_, apart_, lines_;
};

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
    prefetch<rows, Grouped<format>::paired>(row, at, Group<format>::kBytes);
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
    prefetch<rows, Grouped<format>::paired>(row, at, Group<format>::kBytes);
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

// ---- plain matrices ----

template <int rows>
void tile_f32(const Activations& x, int64_t row, const char* tiles, Lanes::Floats* out) {
  const auto* weights = reinterpret_cast<const float*>(tiles);
  const float* values = x.floats + row * x.k;
  for (int r = 0; r < rows; ++r) out[r] = Lanes::zero();
  for (int64_t k = 0; k < x.k; ++k) {
    const float* at = weights + k * kColumns;
    prefetch<rows>(row, at, kColumns * sizeof(float));
    const Lanes::Floats w = Lanes::load(at);
    for (int r = 0; r < rows; ++r) out[r] = Lanes::fma(w, Lanes::broadcast(values[r * x.k + k]), out[r]);
  }
}

template <int rows>
void tile_bf16(const Activations& x, int64_t row, const char* tiles, Lanes::Floats* out) {
  const auto* weights = reinterpret_cast<const uint16_t*>(tiles);
  const int64_t pairs = (x.k + 1) / 2;
  for (int r = 0; r < rows; ++r) out[r] = Lanes::zero();
  for (int64_t p = 0; p < pairs; ++p) {
    const uint16_t* at = weights + p * 2 * kColumns;
    prefetch<rows>(row, at, 2 * kColumns * sizeof(uint16_t));
    const Lanes::Quads w = Lanes::load_pairs(at);
#if defined(__AVX512BF16__)
    for (int r = 0; r < rows; ++r) {
      out[r] = Lanes::dot_pairs(out[r], w, read_int(x.pairs + (row + r) * 2 * pairs + 2 * p));
    }
#else
    const Lanes::Floats first = Lanes::first_of_pairs(w), second = Lanes::second_of_pairs(w);
    for (int r = 0; r < rows; ++r) {
      const float* values = x.floats + (row + r) * x.k + 2 * p;
      const Lanes::Floats one = Lanes::broadcast(values[0]);
      const Lanes::Floats two = Lanes::broadcast(2 * p + 1 < x.k ? values[1] : 0.0f);
      out[r] = Lanes::fma(second, two, Lanes::fma(first, one, out[r]));
    }
#endif
  }
}

// ---- from tiles to products ----

template <int rows>
void tile(Format format, Precision precision, const Activations& x, int64_t row, const char* tiles,
          Lanes::Floats* out) {
  const bool exact = precision == Precision::exact;
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
    case Format::bf16:
      return tile_bf16<rows>(x, row, tiles, out);
    default:
      return tile_f32<rows>(x, row, tiles, out);
  }
}

// A block's numbers of one row, or as many as there are columns left.
inline void store_columns(float* to, Lanes::Floats values, int64_t columns) {
  if (columns >= kColumns) {
    Lanes::store(to, values);
  } else {
    Lanes::store_first(to, values, static_cast<int>(columns));
  }
}

// One tile, and its result in y.
template <int rows>
void tile_to(Format format, Precision precision, const Activations& x, int64_t row, const char* tiles, int64_t column,
             float* y, int64_t n) {
  Lanes::Floats out[rows];
  tile<rows>(format, precision, x, row, tiles, out);
  for (int r = 0; r < rows; ++r) store_columns(y + (row + r) * n + column, out[r], n - column);
}

void multiply(Format format, Precision precision, const Activations& x, const char* tiles, int64_t begin, int64_t end,
              float* y, int64_t n) {
  const int64_t block_bytes = sgl::column_block_bytes(format, x.k);
  // One block of columns after the other, whatever the format: the machine follows one stream better than several.
  for (int64_t block = begin; block < end; ++block) {
    const char* from = tiles + block * block_bytes;
    const int64_t column = block * kColumns;
    int64_t row = 0;
    if constexpr (Lanes::kMostRows >= 8) {
      for (; row + 8 <= x.rows; row += 8) tile_to<8>(format, precision, x, row, from, column, y, n);
    }
    for (; row + 4 <= x.rows; row += 4) tile_to<4>(format, precision, x, row, from, column, y, n);
    for (; row + 2 <= x.rows; row += 2) tile_to<2>(format, precision, x, row, from, column, y, n);
    if (row < x.rows) tile_to<1>(format, precision, x, row, from, column, y, n);
  }
}

// ---- activations ----

inline char* aligned(char* at) { return at + (-reinterpret_cast<uintptr_t>(at) & 63); }

Activations plan(Format format, Precision precision, const float* x, int64_t rows, int64_t k, char* scratch) {
  Activations made;
  made.rows = rows;
  made.k = k;
  if (sgl::is_grouped(format)) {
    const int64_t groups = k / kGroup;
    char* scales = aligned(scratch);
    char* sums = aligned(scales + rows * groups * 4);
    made.sums = reinterpret_cast<float*>(sums);
    if (precision == Precision::exact) {
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
  // Zeros, but NaN where a number is not finite.
  const Lanes::Floats none = Lanes::zero(), zeros = Lanes::fma(low, none, Lanes::multiply(high, none));
  const Lanes::Floats inverse = Lanes::broadcast(largest > kSmallest ? 127.0f / largest : 0.0f);
  const int32_t sum = Lanes::store_rounded(codes, Lanes::multiply(low, inverse), Lanes::multiply(high, inverse));
  *scale = Lanes::has_nan(zeros) ? NAN : largest / 127.0f;
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
