// Matrices as XLA hands them over: whole stacks, and the number of the one that is meant.
#pragma once

#include <algorithm>

#include "product.h"
#include "xla/ffi/api/ffi.h"

namespace sgl {

using Floats = xla::ffi::Buffer<xla::ffi::F32>;
using Number = xla::ffi::BufferR0<xla::ffi::S32>;

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

// Rows that count; those after them are padding.
static inline int64_t live_rows(const Number& live, int64_t rows) {
  return std::clamp<int64_t>(*live.typed_data(), 0, rows);
}

// Padding must hold something finite, and XLA leaves results as it finds them.
static inline void clear_rows(float* y, int64_t begin, int64_t end, int64_t n) {
  if (begin < end) std::memset(y + begin * n, 0, static_cast<size_t>((end - begin) * n) * sizeof(float));
}

}  // namespace sgl
