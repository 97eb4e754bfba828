// What XLA calls for attention: over pages that hold all keys, or from the product for queries, keys and values on.
#pragma once

#include <utility>

#include "attention.h"
#include "projected_ffi.h"
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

// What both are told of rows.
void find_rows(const Ints& row_start, const Ints& row_len, const Ints& kv_len, const Ints& slot,
               const Ints& block_table, const Ints& window, const Ints& page_offset, const Floats& sinks, Call& call) {
  call.row_start = row_start.typed_data(), call.row_len = row_len.typed_data();
  call.kv_len = kv_len.typed_data(), call.slot = slot.typed_data();
  call.block_table = block_table.typed_data();
  call.slots = block_table.dimensions()[0], call.table_width = block_table.dimensions()[1];
  call.window = window.typed_data()[0], call.page_offset = page_offset.typed_data()[0];
  call.sinks = optional(sinks);
}

ffi::Error attend(Floats query, ffi::AnyBuffer keys, Floats key_scale, ffi::AnyBuffer values, Floats value_scale,
                  Ints row_start, Ints row_len, Ints kv_len, Ints slot, Ints block_table, Ints window, Ints page_offset,
                  Floats sinks, int64_t element, float scale, float softcap, bool exact,
                  ffi::ResultBuffer<ffi::F32> out) {
  const auto queries = query.dimensions();
  Call call{};
  if (!find_pools(keys, values, element, call) || queries.size() != 3 || queries[1] % call.kv_heads != 0 ||
      queries[2] != call.dim) {
    return ffi::Error::InvalidArgument("sgl_attention: shapes do not fit");
  }
  call.keys.scale = optional(key_scale), call.values.scale = optional(value_scale);
  call.query = query.typed_data(), call.out = out->typed_data();
  call.groups = queries[1] / call.kv_heads;
  call.scale = scale, call.softcap = softcap, call.exact = exact;
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

// Their operands, one by one as above.
template <class Binding>
auto bind_rows(Binding binding) {
  return std::move(binding)
      .template Arg<Ints>()     // row_start [R]
      .template Arg<Ints>()     // row_len [R]
      .template Arg<Ints>()     // kv_len [R]
      .template Arg<Ints>()     // slot [R]
      .template Arg<Ints>()     // block_table [slots, width]
      .template Arg<Ints>()     // window []
      .template Arg<Ints>()     // page_offset []
      .template Arg<Floats>();  // sinks [H] or empty
}

auto bind_attend() {
  return bind_rows(ffi::Ffi::Bind()
                       .Arg<Floats>()          // query [T, H, D]
                       .Arg<ffi::AnyBuffer>()  // keys [P, S, K, D]
                       .Arg<Floats>()          // their scales [P, S, K] or empty
                       .Arg<ffi::AnyBuffer>()  // values
                       .Arg<Floats>())         // their scales
      .Attr<int64_t>("element")
      .Attr<float>("scale")
      .Attr<float>("softcap")
      .Attr<bool>("exact")
      .Ret<Floats>();
}

auto bind_attend_projected() {
  return bind_rows(ffi::Ffi::Bind()
                       .Arg<Floats>()           // qkv [T, (H + 2 K) D]
                       .Arg<Floats>()           // cosines [T, rotary_dim / 2]
                       .Arg<Floats>()           // sines
                       .Arg<Floats>()           // norm of queries [D] or empty
                       .Arg<Floats>()           // norm of keys
                       .Arg<ffi::AnyBuffer>()   // keys [P, S, K, D]
                       .Arg<ffi::AnyBuffer>())  // values
      .Attr<int64_t>("element")
      .Attr<float>("eps")
      .Attr<float>("scale")
      .Attr<float>("softcap")
      .Ret<Floats>()          // [T, H, D]
      .Ret<ffi::AnyBuffer>()  // the same memory
      .Ret<ffi::AnyBuffer>();
}

}  // namespace
}  // namespace sgl::attention

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_attention, sgl::attention::attend, sgl::attention::bind_attend());
XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_attend_projected, sgl::attention::attend_projected,
                              sgl::attention::bind_attend_projected());
