// What XLA calls for attention: over pages that hold all keys, or from the product for queries, keys and values on.
#include "attention.h"
#include "projected.h"
#include "xla/ffi/api/ffi.h"

namespace sgl::attention {
namespace {

namespace ffi = xla::ffi;
using Ints = ffi::Buffer<ffi::S32>;

// The parts that both have. False if shapes do not fit.
bool find_pools(const ffi::AnyBuffer& keys, const ffi::AnyBuffer& values, int64_t element, Call& call) {
  const auto pool = keys.dimensions();
  if (pool.size() != 4 || values.size_bytes() != keys.size_bytes() || element < 0 || element > 4 ||
      static_cast<int64_t>(keys.size_bytes()) !=
          pool[0] * pool[1] * pool[2] * pool[3] * bytes_of(static_cast<Element>(element))) {
    return false;
  }
  call.keys = {static_cast<uint8_t*>(keys.untyped_data()), nullptr};
  call.values = {static_cast<uint8_t*>(values.untyped_data()), nullptr};
  call.element = static_cast<Element>(element);
  call.pages = pool[0], call.page_size = pool[1], call.kv_heads = pool[2], call.dim = pool[3];
  return true;
}

void find_rows(const Ints& row_start, const Ints& row_len, const Ints& kv_len, const Ints& slot, const Ints& block_table,
               const Ints& window, const Ints& page_offset, const Floats& sinks, Call& call) {
  call.row_start = row_start.typed_data(), call.row_len = row_len.typed_data();
  call.kv_len = kv_len.typed_data(), call.slot = slot.typed_data();
  call.block_table = block_table.typed_data();
  call.slots = block_table.dimensions()[0], call.table_width = block_table.dimensions()[1];
  call.window = window.typed_data()[0], call.page_offset = page_offset.typed_data()[0];
  call.sinks = optional(sinks);
}

ffi::Error attend(Floats query, ffi::AnyBuffer keys, Floats key_scale, ffi::AnyBuffer values, Floats value_scale,
                  Ints row_start, Ints row_len, Ints kv_len, Ints slot, Ints block_table, Ints window, Ints page_offset,
                  Floats sinks, int64_t element, float scale, float softcap, ffi::ResultBuffer<ffi::F32> out) {
  const auto queries = query.dimensions();
  Call call{};
  if (!find_pools(keys, values, element, call) || queries.size() != 3 || queries[1] % call.kv_heads != 0 ||
      queries[2] != call.dim) {
    return ffi::Error::InvalidArgument("sgl_attention: shapes do not fit");
  }
  call.keys.scale = optional(key_scale), call.values.scale = optional(value_scale);
  call.query = query.typed_data(), call.out = out->typed_data();
  call.groups = queries[1] / call.kv_heads;
  call.scale = scale, call.softcap = softcap;
  find_rows(row_start, row_len, kv_len, slot, block_table, window, page_offset, sinks, call);
  run(call, static_cast<int64_t>(row_len.element_count()), queries[0], nullptr);
  return ffi::Error::Success();
}

ffi::Error attend_projected(Floats qkv, Floats cos, Floats sin, Floats query_norm, Floats key_norm, ffi::AnyBuffer keys,
                            ffi::AnyBuffer values, Ints row_start, Ints row_len, Ints kv_len, Ints slot,
                            Ints block_table, Ints window, Ints page_offset, Floats sinks, int64_t element, float eps,
                            float scale, float softcap, ffi::ResultBuffer<ffi::F32> out,
                            ffi::Result<ffi::AnyBuffer> keys_after, ffi::Result<ffi::AnyBuffer> values_after) {
  if (keys_after->untyped_data() != keys.untyped_data() || values_after->untyped_data() != values.untyped_data()) {
    return ffi::Error::Internal("sgl_attend_projected: a pool was copied");
  }
  Call call{};
  Projected projected;
  if (!find_pools(keys, values, element, call) || call.element == Element::int8 ||
      !find_projected(qkv, cos, sin, query_norm, key_norm, eps, call.kv_heads, call.dim, projected) ||
      projected.heads % call.kv_heads != 0 || projected.heads > kSingleGroups * call.kv_heads ||
      static_cast<int64_t>(out->element_count()) != projected.tokens * projected.heads * call.dim) {
    return ffi::Error::InvalidArgument("sgl_attend_projected: shapes do not fit");
  }
  call.out = out->typed_data();
  call.groups = projected.heads / call.kv_heads;
  call.scale = scale, call.softcap = softcap;
  find_rows(row_start, row_len, kv_len, slot, block_table, window, page_offset, sinks, call);
  const auto rows = static_cast<int64_t>(row_len.element_count());
  for (int64_t row = 0; row < rows; ++row) {
    if (call.row_len[row] > 1) return ffi::Error::InvalidArgument("sgl_attend_projected: a row has several tokens");
  }
  run(call, rows, projected.tokens, &projected);
  return ffi::Error::Success();
}

}  // namespace
}  // namespace sgl::attention

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_attention, sgl::attention::attend,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()   // query [T, H, D]
                                  .Arg<xla::ffi::AnyBuffer>()               // keys [P, S, K, D]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()   // their scales [P, S, K] or empty
                                  .Arg<xla::ffi::AnyBuffer>()               // values
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()   // their scales
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()   // row_start [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()   // row_len [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()   // kv_len [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()   // slot [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()   // block_table [slots, width]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()   // window []
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()   // page_offset []
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()   // sinks [H] or empty
                                  .Attr<int64_t>("element")
                                  .Attr<float>("scale")
                                  .Attr<float>("softcap")
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_attend_projected, sgl::attention::attend_projected,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // qkv [T, (H + 2 K) D]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // cosines [T, rotary_dim / 2]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // sines
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // norm of queries [D] or empty
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // norm of keys
                                  .Arg<xla::ffi::AnyBuffer>()              // keys [P, S, K, D]
                                  .Arg<xla::ffi::AnyBuffer>()              // values
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()  // row_start [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()  // row_len [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()  // kv_len [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()  // slot [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()  // block_table [slots, width]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()  // window []
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()  // page_offset []
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()  // sinks [H] or empty
                                  .Attr<int64_t>("element")
                                  .Attr<float>("eps")
                                  .Attr<float>("scale")
                                  .Attr<float>("softcap")
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()  // [T, H, D]
                                  .Ret<xla::ffi::AnyBuffer>()              // the same memory
                                  .Ret<xla::ffi::AnyBuffer>());
