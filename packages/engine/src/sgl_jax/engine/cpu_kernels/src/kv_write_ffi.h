// Writes the step's keys or values to their places in the pool, which is the same memory before and after; or begins
// with the product for queries, keys and values, and leaves what attention wants.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "attention.h"
#include "projected_ffi.h"
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

// Floats that a thread turns and writes at least.
constexpr int64_t kTurnedTogether = 8192;

ffi::Error store(Floats qkv, Floats cos, Floats sin, Floats query_norm, Floats key_norm, ffi::Buffer<ffi::S32> slots,
                 ffi::AnyBuffer keys_before, ffi::AnyBuffer values_before, int64_t element_, float eps,
                 ffi::ResultBuffer<ffi::F32> query, ffi::Result<ffi::AnyBuffer> keys,
                 ffi::Result<ffi::AnyBuffer> values) {
  if (keys->untyped_data() != keys_before.untyped_data() || values->untyped_data() != values_before.untyped_data()) {
    return ffi::Error::Internal("sgl_store_projected: a pool was copied");
  }
  const auto pool = keys->dimensions(), shape = query->dimensions();
  Projected projected;
  if (pool.size() != 4 || shape.size() != 3 || values->size_bytes() != keys->size_bytes() || element_ < 0 ||
      element_ > 3 || !find_projected(qkv, cos, sin, query_norm, key_norm, eps, pool[2], pool[3], projected) ||
      shape[0] != projected.tokens || shape[1] != projected.heads || shape[2] != projected.dim ||
      static_cast<int64_t>(slots.element_count()) != projected.tokens) {
    return ffi::Error::InvalidArgument("sgl_store_projected: shapes do not fit");
  }
  const auto element = static_cast<Element>(element_);
  const int64_t heads = projected.heads, kv_heads = projected.kv_heads, dim = projected.dim;
  const int64_t places = pool[0] * pool[1], token_bytes = kv_heads * dim * attention::bytes_of(element);
  auto* key_pool = static_cast<uint8_t*>(keys->untyped_data());
  auto* value_pool = static_cast<uint8_t*>(values->untyped_data());
  const attention::Encode encode = attention::kernels().encode;
  const auto grain = std::max<int64_t>(kTurnedTogether / std::max<int64_t>((heads + 2 * kv_heads) * dim, 1), 1);
  parallel_for(projected.tokens, grain, [&](int64_t begin, int64_t end) {
    thread_local std::vector<float> turned_keys;
    turned_keys.resize(kv_heads * dim);
    for (int64_t token = begin; token < end; ++token) {
      float* turned = query->typed_data() + token * heads * dim;
      const int64_t slot = slots.typed_data()[token];
      if (slot < 0 || slot >= places) {  // padding
        std::memset(turned, 0, static_cast<size_t>(heads * dim) * sizeof(float));
        continue;
      }
      for (int64_t head = 0; head < heads; ++head) {
        turn(projected, token, projected.query(token, head), projected.query_norm, turned + head * dim);
      }
      for (int64_t head = 0; head < kv_heads; ++head) {
        turn(projected, token, projected.key(token, head), projected.key_norm, turned_keys.data() + head * dim);
      }
      encode(element, turned_keys.data(), key_pool + slot * token_bytes, nullptr, kv_heads, dim);
      encode(element, projected.value(token, 0), value_pool + slot * token_bytes, nullptr, kv_heads, dim);
    }
  });
  return ffi::Error::Success();
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

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_store_projected, sgl::store,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // qkv [T, (H + 2 K) D]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // cosines [T, rotary_dim / 2]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // sines
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // norm of queries [D] or empty
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // norm of keys
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()  // slots [T]
                                  .Arg<xla::ffi::AnyBuffer>()              // pool of keys [P, S, K, D]
                                  .Arg<xla::ffi::AnyBuffer>()              // pool of values
                                  .Attr<int64_t>("element")
                                  .Attr<float>("eps")
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()  // queries [T, H, D]
                                  .Ret<xla::ffi::AnyBuffer>()              // the same memory
                                  .Ret<xla::ffi::AnyBuffer>());
