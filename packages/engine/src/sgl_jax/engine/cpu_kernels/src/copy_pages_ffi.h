// Copies pages of a pool in all layers, before a step that goes on writing in the copies.
#pragma once

#include <cstring>

#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace sgl {
namespace {

namespace ffi = xla::ffi;

// Layers that a thread copies at least.
constexpr int64_t kLayersTogether = 4;

// copies: how many, then as many places for sources as for targets. They are made in this order.
ffi::Error copy_pages(ffi::AnyBuffer before, ffi::BufferR1<ffi::S32> copies, int64_t pages,
                      ffi::Result<ffi::AnyBuffer> pool) {
  const auto shape = pool->dimensions();
  const int64_t most = (static_cast<int64_t>(copies.element_count()) - 1) / 2;
  const int32_t* packed = copies.typed_data();
  if (pool->untyped_data() != before.untyped_data()) return ffi::Error::Internal("sgl_copy_pages: the pool was copied");
  if (shape.size() < 1 || pages < 1 || shape[0] % pages != 0 || most < 0 || packed[0] < 0 || packed[0] > most) {
    return ffi::Error::InvalidArgument("sgl_copy_pages: shapes do not fit");
  }
  const int64_t layers = shape[0] / pages;
  const size_t bytes = shape[0] == 0 ? 0 : pool->size_bytes() / shape[0];
  auto* stored = static_cast<char*>(pool->untyped_data());
  parallel_for(layers, kLayersTogether, [&](int64_t begin, int64_t end) {
    for (int64_t layer = begin; layer < end; ++layer) {
      char* first = stored + layer * pages * bytes;
      for (int32_t i = 1; i <= packed[0]; ++i) {
        const int64_t source = packed[i], target = packed[most + i];
        if (source < 0 || source >= pages || target < 0 || target >= pages || source == target) continue;
        std::memcpy(first + target * bytes, first + source * bytes, bytes);
      }
    }
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace sgl

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_copy_pages, sgl::copy_pages,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::AnyBuffer>()                // pool [layers P, ...]
                                  .Arg<xla::ffi::BufferR1<xla::ffi::S32>>()  // copies [2 most + 1]
                                  .Attr<int64_t>("pages")
                                  .Ret<xla::ffi::AnyBuffer>());  // the same memory
