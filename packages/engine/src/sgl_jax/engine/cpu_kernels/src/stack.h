// Matrices as XLA hands them over: whole stacks, and the number of the one that is meant.
#pragma once

#include <algorithm>

#include "product.h"
#include "xla/ffi/api/ffi.h"

namespace sgl {

using Floats = xla::ffi::Buffer<xla::ffi::F32>;
using Number = xla::ffi::BufferR0<xla::ffi::S32>;
using Numbers = xla::ffi::BufferR1<xla::ffi::S32>;

// The matrix [n, k] that is meant. False if the buffer holds no whole number of such, or there is no such format.
static inline bool find_matrix(const xla::ffi::AnyBuffer& stack, const Number& index, int64_t format, int64_t n,
                               int64_t k, Matrix& found) {
  if (format < 0 || format >= kFormats) return false;
  found = {static_cast<Format>(format), nullptr, n, k};
  if (is_grouped(found.format) && k % kGroup != 0) return false;
  const int64_t bytes = bytes_of(found);
  const int64_t held = static_cast<int64_t>(stack.size_bytes());
  if (bytes == 0 || held == 0 || held % bytes != 0) return false;
  const int64_t wanted = std::clamp<int64_t>(*index.typed_data(), 0, held / bytes - 1);
  found.tiles = static_cast<const char*>(stack.untyped_data()) + wanted * bytes;
  return true;
}

static inline xla::ffi::Error bad_stack() {
  return xla::ffi::Error::InvalidArgument("the stack of tiles does not fit the product's shape");
}

// Null for an operand that is left out, which XLA gives as an empty array.
static inline const float* optional(const Floats& buffer) {
  return buffer.element_count() == 0 ? nullptr : buffer.typed_data();
}

// Which rows are which: first those that are decoded, one a sequence, then those of prompts, then padding.
struct Rows {
  int64_t decoded, live;
};

// Of two numbers, of rows that are live and of decoded ones. False if there are not two.
static inline bool find_rows(const Numbers& counts, int64_t rows, Rows& found) {
  if (counts.element_count() != 2) return false;
  found.live = std::clamp<int64_t>(counts.typed_data()[0], 0, rows);
  found.decoded = std::clamp<int64_t>(counts.typed_data()[1], 0, found.live);
  return true;
}

// Calls work(begin, end, precision) for live rows, as many together as are computed alike, shared out among the
// threads. What a token gets is decided by its kind, not by how many others there are: a text would depend on them.
template <size_t count, class Work>
static inline void by_kind(const Rows& rows, const Matrix (&matrices)[count], bool exact, Work&& work) {
  bool grouped = false, in_bytes = false, tiles = matmul_kernels().pairs;
  int64_t bytes = 0;
  for (const Matrix& matrix : matrices) {
    grouped = grouped || is_grouped(matrix.format);
    in_bytes = in_bytes || matrix.format == Format::q8_0;
    tiles = tiles && matrix.format != Format::f32;
    bytes += bytes_of(matrix);
  }
  const auto share = [&](int64_t begin, int64_t end, Precision precision) {
    if (begin == end) return;
    const bool tiled = tiles && (!grouped || precision == Precision::paired);
    const RowsAThread& coded_tiles = in_bytes ? kByteTileRows : kCodedTileRows;
    const RowsAThread& untiled = tiles && precision == Precision::coded ? coded_tiles : kUntiledRows;
    by_rows(end - begin, bytes, tiled ? kTiledRows : untiled,
            [&](int64_t from, int64_t to) { work(begin + from, begin + to, precision); });
  };
  const int64_t coded = exact ? 0 : tiles && grouped ? rows.decoded : rows.live;
  share(0, coded, Precision::coded);
  share(coded, rows.live, exact ? Precision::exact : Precision::paired);
}

// Padding must hold something finite, and XLA leaves results as it finds them.
static inline void clear_rows(float* y, int64_t begin, int64_t end, int64_t n) {
  if (begin < end) std::memset(y + begin * n, 0, static_cast<size_t>((end - begin) * n) * sizeof(float));
}

}  // namespace sgl
