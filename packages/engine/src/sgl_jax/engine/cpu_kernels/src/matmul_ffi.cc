// What XLA calls: products with arranged matrices, and rows of them.
#include "matmul.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "isa.h"
#include "rows.h"
#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace sgl {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using Index = ffi::BufferR0<ffi::S32>;

// What a piece of a loop reads should take a few microseconds, far more than it takes to get the piece.
constexpr int64_t kPieceBytes = 24 * 1024;
// Rows of activations that are brought into their form by one thread.
constexpr int64_t kRowsPerPiece = 8;

const MatmulKernels& kernels() {
#if defined(SGL_X86)
  switch (isa()) {
    case Isa::avx512bf16:
      return kMatmulAvx512Bf16;
    case Isa::avx512:
      return kMatmulAvx512;
    case Isa::avx2:
      return kMatmulAvx2;
    default:
      break;
  }
#endif
  return kMatmulPortable;
}

// Memory that a thread keeps from one product to the next.
char* scratch(int64_t bytes) {
  thread_local std::unique_ptr<char[]> memory;
  thread_local int64_t held = 0;
  if (held < bytes) {
    memory.reset(new char[bytes]);
    held = bytes;
  }
  return memory.get();
}

// The matrix [N, K] that is meant, out of a stack of them; null if the buffer holds no whole number of such.
const char* find_matrix(const ffi::AnyBuffer& stack, const Index& index, Format format, int64_t n, int64_t k) {
  const int64_t bytes = column_blocks(n) * column_block_bytes(format, k);
  const int64_t held = static_cast<int64_t>(stack.size_bytes());
  if (bytes == 0 || held == 0 || held % bytes != 0) return nullptr;
  const int64_t wanted = std::clamp<int64_t>(*index.typed_data(), 0, held / bytes - 1);
  return static_cast<const char*>(stack.untyped_data()) + wanted * bytes;
}

ffi::Error bad_stack() { return ffi::Error::InvalidArgument("the stack of tiles does not fit the product's shape"); }

ffi::Error matmul(Floats x, ffi::AnyBuffer stack, Index index, int64_t format_number, bool exact,
                  ffi::ResultBuffer<ffi::F32> y) {
  const int64_t rows = x.dimensions()[0], k = x.dimensions()[1], n = y->dimensions()[1];
  if (rows == 0) return ffi::Error::Success();
  const Format format = static_cast<Format>(format_number);
  const char* tiles = find_matrix(stack, index, format, n, k);
  if (tiles == nullptr) return bad_stack();
  const MatmulKernels& kernel = kernels();
  const float* values = x.typed_data();
  const Activations plan = kernel.plan(format, exact, values, rows, k, scratch(prepared_bytes(rows, k)));
  parallel_for(rows, kRowsPerPiece,
               [&](int64_t begin, int64_t end) { kernel.prepare(format, plan, values, begin, end); });
  const int64_t grain = std::max<int64_t>(1, kPieceBytes / (column_block_bytes(format, k) * rows));
  float* to = y->typed_data();
  parallel_for(column_blocks(n), grain, [&](int64_t begin, int64_t end) {
    kernel.multiply(format, exact, plan, tiles, begin, end, to, n);
  });
  return ffi::Error::Success();
}

ffi::Error take_rows(ffi::AnyBuffer stack, Index index, ffi::BufferR1<ffi::S32> rows, int64_t format_number, int64_t n,
                     ffi::ResultBuffer<ffi::F32> out) {
  const int64_t k = out->dimensions()[1];
  const Format format = static_cast<Format>(format_number);
  const char* tiles = find_matrix(stack, index, format, n, k);
  if (tiles == nullptr) return bad_stack();
  const int32_t* wanted = rows.typed_data();
  float* to = out->typed_data();
  parallel_for(rows.dimensions()[0], kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      unpack_row(format, tiles, std::clamp<int64_t>(wanted[at], 0, n - 1), k, to + at * k);
    }
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace sgl

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_matmul, sgl::matmul,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::BufferR0<xla::ffi::S32>>()
                                  .Attr<int64_t>("format")
                                  .Attr<bool>("exact")
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_take_rows, sgl::take_rows,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::BufferR0<xla::ffi::S32>>()
                                  .Arg<xla::ffi::BufferR1<xla::ffi::S32>>()
                                  .Attr<int64_t>("format")
                                  .Attr<int64_t>("n")
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());
