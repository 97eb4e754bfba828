// What XLA calls: products with arranged matrices, all of a block that comes after its attention, and rows of matrices.
#pragma once

#include <algorithm>

#include "rows.h"
#include "stack.h"

namespace sgl {
namespace {

namespace ffi = xla::ffi;

// Rows that one thread looks up.
constexpr int64_t kRowsPerPiece = 8;

ffi::Error matmul(Floats x, Floats norm, Floats bias, ffi::AnyBuffer stack, Number index, Numbers counts,
                  int64_t format, bool exact, float eps, ffi::ResultBuffer<ffi::F32> y) {
  const int64_t rows = x.dimensions()[0], k = x.dimensions()[1], n = y->dimensions()[1];
  if (rows == 0) return ffi::Error::Success();
  Matrix matrix;
  if (!find_matrix(stack, index, format, n, k, matrix)) return bad_stack();
  const auto fits = [](const Floats& buffer, int64_t size) {
    return buffer.element_count() == 0 || static_cast<int64_t>(buffer.element_count()) == size;
  };
  Rows kinds;
  if (!fits(norm, k) || !fits(bias, n) || !find_rows(counts, rows, kinds)) {
    return ffi::Error::InvalidArgument("sgl_matmul: shapes do not fit");
  }
  float* to = y->typed_data();
  clear_rows(to, kinds.live, rows, n);
  by_kind(kinds, {matrix}, exact, [&](int64_t begin, int64_t end, Precision precision) {
    const float* from = x.typed_data() + begin * k;
    const Activations plan = prepared(matrix, precision, from, end - begin, {optional(norm), eps});
    multiply(matrix, precision, plan, optional(bias), to + begin * n);
  });
  return ffi::Error::Success();
}

// hidden += attended W_o^T;  hidden += (activation(g) * u) W_down^T,  where g, u = normalised hidden times W_gate_up^T.
// Where rows are divided among the threads, these need not meet before all is done (see product.h).
ffi::Error finish_block(Floats hidden, Floats attended, Floats norm, ffi::AnyBuffer output_stack,
                        ffi::AnyBuffer gate_up_stack, ffi::AnyBuffer down_stack, Number index, Numbers counts,
                        int64_t output_format, int64_t gate_up_format, int64_t down_format, bool exact, float eps,
                        int64_t inner, int64_t activation, ffi::ResultBuffer<ffi::F32> out) {
  const int64_t rows = hidden.dimensions()[0], size = hidden.dimensions()[1], heads = attended.dimensions()[1];
  if (rows == 0) return ffi::Error::Success();
  Matrix output, gate_up, down;
  if (!find_matrix(output_stack, index, output_format, size, heads, output) ||
      !find_matrix(gate_up_stack, index, gate_up_format, 2 * inner, size, gate_up) ||
      !find_matrix(down_stack, index, down_format, size, inner, down)) {
    return bad_stack();
  }
  Rows kinds;
  if (!find_rows(counts, rows, kinds) || attended.dimensions()[0] != rows ||
      static_cast<int64_t>(norm.element_count()) != size || inner % kColumns != 0 || activation < 0 ||
      activation >= kActivations) {
    return ffi::Error::InvalidArgument("sgl_finish_block: shapes do not fit");
  }
  float* to = out->typed_data();
  clear_rows(to, kinds.live, rows, size);
  by_kind(kinds, {output, gate_up, down}, exact, [&](int64_t begin, int64_t end, Precision precision) {
    const int64_t count = end - begin;
    const float *before = hidden.typed_data() + begin * size, *own = attended.typed_data() + begin * heads;
    float* after = to + begin * size;
    multiply_and_add(output, precision, prepared(output, precision, own, count, {}), before, after);
    auto* gated = reinterpret_cast<float*>(scratch(Purpose::gated, count * inner * 4));
    multiply_and_gate(gate_up, precision, prepared(gate_up, precision, after, count, {norm.typed_data(), eps}),
                      static_cast<Activation>(activation), gated);
    multiply_and_add(down, precision, prepared(down, precision, gated, count, {}), after, after);
  });
  return ffi::Error::Success();
}

ffi::Error take_rows(ffi::AnyBuffer stack, Number index, ffi::BufferR1<ffi::S32> rows, int64_t format, int64_t n,
                     ffi::ResultBuffer<ffi::F32> out) {
  const int64_t k = out->dimensions()[1];
  Matrix matrix;
  if (!find_matrix(stack, index, format, n, k, matrix)) return bad_stack();
  const int32_t* wanted = rows.typed_data();
  float* to = out->typed_data();
  parallel_for(rows.dimensions()[0], kRowsPerPiece, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      unpack_row(matrix.format, matrix.tiles, std::clamp<int64_t>(wanted[at], 0, n - 1), k, to + at * k);
    }
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace sgl

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_matmul, sgl::matmul,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // x [T, in]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // norm [in] or empty
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // bias [out] or empty
                                  .Arg<xla::ffi::AnyBuffer>()                // tiles
                                  .Arg<xla::ffi::BufferR0<xla::ffi::S32>>()  // index
                                  .Arg<xla::ffi::BufferR1<xla::ffi::S32>>()  // counts: live, decoded
                                  .Attr<int64_t>("format")
                                  .Attr<bool>("exact")
                                  .Attr<float>("eps")
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_take_rows, sgl::take_rows,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<xla::ffi::BufferR0<xla::ffi::S32>>()
                                  .Arg<xla::ffi::BufferR1<xla::ffi::S32>>()
                                  .Attr<int64_t>("format")
                                  .Attr<int64_t>("n")
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_finish_block, sgl::finish_block,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // hidden [T, size]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // attended [T, H D]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // norm [size]
                                  .Arg<xla::ffi::AnyBuffer>()                // tiles of o_proj
                                  .Arg<xla::ffi::AnyBuffer>()                // of gate_up_proj
                                  .Arg<xla::ffi::AnyBuffer>()                // of down_proj
                                  .Arg<xla::ffi::BufferR0<xla::ffi::S32>>()  // index
                                  .Arg<xla::ffi::BufferR1<xla::ffi::S32>>()  // counts: live, decoded
                                  .Attr<int64_t>("output_format")
                                  .Attr<int64_t>("gate_up_format")
                                  .Attr<int64_t>("down_format")
                                  .Attr<bool>("exact")
                                  .Attr<float>("eps")
                                  .Attr<int64_t>("inner")
                                  .Attr<int64_t>("activation")
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());
