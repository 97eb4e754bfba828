// Writes the step's keys or values to their places in the pool, which is the same memory before and after.
#include <algorithm>

#include "attention.h"
#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace sgl {
namespace {

namespace ffi = xla::ffi;
using attention::Element;

// Floats that a thread writes at least.
constexpr int64_t kGrain = 32768;

ffi::Error write(ffi::Buffer<ffi::F32> vectors, ffi::Buffer<ffi::S32> slots, ffi::AnyBuffer before, int64_t element_,
                 ffi::Result<ffi::AnyBuffer> pool, float* scale) {
  const auto shape = vectors.dimensions(), pages = pool->dimensions();
  if (pool->untyped_data() != before.untyped_data()) return ffi::Error::Internal("sgl_kv_write: the pool was copied");
  if (shape.size() != 3 || pages.size() != 4 || shape[1] != pages[2] || shape[2] != pages[3] || element_ < 0 ||
      element_ > 4 || static_cast<int64_t>(slots.element_count()) != shape[0]) {
    return ffi::Error::InvalidArgument("sgl_kv_write: shapes do not fit");
  }
  const auto element = static_cast<Element>(element_);
  const int64_t heads = shape[1], dim = shape[2], floats = heads * dim, places = pages[0] * pages[1];
  auto* stored = static_cast<uint8_t*>(pool->untyped_data());
  const float* from = vectors.typed_data();
  const int32_t* slot = slots.typed_data();
  const attention::Encode encode = attention::kernels().encode;
  parallel_for(shape[0], std::max<int64_t>(kGrain / std::max<int64_t>(floats, 1), 1), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      if (slot[t] < 0 || slot[t] >= places) continue;  // padding
      uint8_t* to = stored + slot[t] * floats * attention::bytes_of(element);
      encode(element, from + t * floats, to, scale == nullptr ? nullptr : scale + slot[t] * heads, heads, dim);
    }
  });
  return ffi::Error::Success();
}

ffi::Error handle(ffi::Buffer<ffi::F32> vectors, ffi::Buffer<ffi::S32> slots, ffi::AnyBuffer before, int64_t element,
                  ffi::Result<ffi::AnyBuffer> pool) {
  return write(vectors, slots, before, element, pool, nullptr);
}

ffi::Error handle_scaled(ffi::Buffer<ffi::F32> vectors, ffi::Buffer<ffi::S32> slots, ffi::AnyBuffer before,
                         ffi::Buffer<ffi::F32>, int64_t element, ffi::Result<ffi::AnyBuffer> pool,
                         ffi::ResultBuffer<ffi::F32> scale) {
  return write(vectors, slots, before, element, pool, scale->typed_data());
}

}  // namespace
}  // namespace sgl

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_kv_write, sgl::handle,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // vectors [T, K, D]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()  // slots [T]
                                  .Arg<xla::ffi::AnyBuffer>()              // pool [P, S, K, D]
                                  .Attr<int64_t>("element")
                                  .Ret<xla::ffi::AnyBuffer>());  // the same memory

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_kv_write_scaled, sgl::handle_scaled,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // scales [P, S, K]
                                  .Attr<int64_t>("element")
                                  .Ret<xla::ffi::AnyBuffer>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());
