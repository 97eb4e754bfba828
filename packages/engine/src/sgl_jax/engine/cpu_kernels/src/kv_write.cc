// Writes the step's keys or values to their places in the pool, which is the same memory before and after; or begins with
// the product for queries, keys and values, and leaves what attention wants.
#include <algorithm>
#include <cstring>
#include <vector>

#include "attention.h"
#include "matmul.h"
#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace sgl {
namespace {

namespace ffi = xla::ffi;
using attention::Element;
using Floats = ffi::Buffer<ffi::F32>;

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

// Su et al. 2021: turns dimension i and i + half by the token's angle i. What lies beyond stays as it is.
void rotate(const float* x, const float* cos, const float* sin, int64_t half, int64_t dim, float* out) {
  for (int64_t i = 0; i < half; ++i) {
    const float first = x[i], second = x[i + half];
    out[i] = first * cos[i] - second * sin[i];
    out[i + half] = second * cos[i] + first * sin[i];
  }
  std::copy(x + 2 * half, x + dim, out + 2 * half);
}

ffi::Error store(Floats qkv, Floats cos, Floats sin, Floats query_norm, Floats key_norm, ffi::Buffer<ffi::S32> slots,
                 ffi::AnyBuffer keys_before, ffi::AnyBuffer values_before, int64_t element_, float eps,
                 ffi::ResultBuffer<ffi::F32> query, ffi::Result<ffi::AnyBuffer> keys,
                 ffi::Result<ffi::AnyBuffer> values) {
  if (keys->untyped_data() != keys_before.untyped_data() || values->untyped_data() != values_before.untyped_data()) {
    return ffi::Error::Internal("sgl_store_projected: a pool was copied");
  }
  const auto pool = keys->dimensions(), shape = query->dimensions();
  const auto fits = [](const Floats& norm, int64_t dim) {
    return norm.element_count() == 0 || static_cast<int64_t>(norm.element_count()) == dim;
  };
  if (pool.size() != 4 || shape.size() != 3 || pool[3] != shape[2] || values->size_bytes() != keys->size_bytes() ||
      element_ < 0 || element_ > 3 || qkv.dimensions()[1] != (shape[1] + 2 * pool[2]) * shape[2] ||
      2 * cos.dimensions()[1] > shape[2] || !fits(query_norm, shape[2]) || !fits(key_norm, shape[2]) ||
      static_cast<int64_t>(slots.element_count()) != shape[0]) {
    return ffi::Error::InvalidArgument("sgl_store_projected: shapes do not fit");
  }
  const auto element = static_cast<Element>(element_);
  const int64_t heads = shape[1], kv_heads = pool[2], dim = shape[2], half = cos.dimensions()[1];
  const int64_t width = qkv.dimensions()[1], places = pool[0] * pool[1];
  const int64_t token_bytes = kv_heads * dim * attention::bytes_of(element);
  auto* key_pool = static_cast<uint8_t*>(keys->untyped_data());
  auto* value_pool = static_cast<uint8_t*>(values->untyped_data());
  const attention::Encode encode = attention::kernels().encode;
  const auto normalize = matmul_kernels().normalize;
  const auto grain = std::max<int64_t>(kTurnedTogether / std::max<int64_t>(width, 1), 1);
  parallel_for(shape[0], grain, [&](int64_t begin, int64_t end) {
    thread_local std::vector<float> memory;
    memory.resize((kv_heads + 1) * dim);
    float *turned_keys = memory.data(), *normalized = turned_keys + kv_heads * dim;
    const auto turn = [&](const float* x, const Floats& norm, int64_t token, float* out) {
      if (norm.element_count() > 0) {
        normalize(x, norm.typed_data(), eps, dim, normalized);
        x = normalized;
      }
      rotate(x, cos.typed_data() + token * half, sin.typed_data() + token * half, half, dim, out);
    };
    for (int64_t token = begin; token < end; ++token) {
      const float* from = qkv.typed_data() + token * width;
      float* turned = query->typed_data() + token * heads * dim;
      const int64_t slot = slots.typed_data()[token];
      if (slot < 0 || slot >= places) {  // padding
        std::memset(turned, 0, static_cast<size_t>(heads * dim) * sizeof(float));
        continue;
      }
      for (int64_t head = 0; head < heads; ++head) turn(from + head * dim, query_norm, token, turned + head * dim);
      from += heads * dim;
      for (int64_t head = 0; head < kv_heads; ++head) turn(from + head * dim, key_norm, token, turned_keys + head * dim);
      encode(element, turned_keys, key_pool + slot * token_bytes, nullptr, kv_heads, dim);
      encode(element, from + kv_heads * dim, value_pool + slot * token_bytes, nullptr, kv_heads, dim);
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
