// Draws the step's tokens from its logits, a row a thread at a time: adjusts the logits of who asks, draws, and gives
// log-probabilities to who wants them. Rows that ask for nothing are read where they lie.
#pragma once

#include "sampling.h"

#include <algorithm>
#include <vector>

#include "threads.h"
#include "xla/ffi/api/ffi.h"

namespace sgl::sampling {
namespace {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using Numbers = ffi::Buffer<ffi::S32>;
using Bits = ffi::Buffer<ffi::U32>;
using Flags = ffi::Buffer<ffi::PRED>;

const Kernels& kernels() {
  return SGL_FROM_AVX512(avx512_kernels, SGL_FROM_AVX2(avx2_kernels, portable_kernels));
}

ffi::Error handle(Floats logits, Flags greedy, Floats temperature, Numbers top_k, Floats top_p, Floats min_p, Bits seed,
                  Numbers position, ffi::Buffer<ffi::U16> history, Floats penalties, Numbers min_length,
                  Numbers bias_ids, Floats bias, Numbers slot, Flags asks, Bits mask_bits, Flags masked, Flags wanted,
                  ffi::ResultBuffer<ffi::S32> drawn, ffi::ResultBuffer<ffi::F32> drawn_logprob,
                  ffi::ResultBuffer<ffi::S32> top_ids, ffi::ResultBuffer<ffi::F32> top) {
  const int64_t rows = logits.dimensions()[0], vocab = logits.dimensions()[1], tops = top->dimensions()[1];
  const int64_t slots = history.dimensions()[0], biases = bias.dimensions()[1], words = mask_bits.dimensions()[1];
  if (history.dimensions()[1] != vocab || words * 32 < vocab || slots < 1 || tops > vocab || vocab < 1) {
    return ffi::Error::InvalidArgument("sgl_draw: shapes do not fit");
  }
  const Kernels& own = kernels();
  parallel_for(rows, 1, [&](int64_t begin, int64_t end) {
    static thread_local std::vector<float> adjusted;
    for (int64_t row = begin; row < end; ++row) {
      const float* from = logits.typed_data() + row * vocab;
      const float* x = from;
      if (asks.typed_data()[row] || masked.typed_data()[row]) {
        const int64_t at = std::clamp<int64_t>(slot.typed_data()[row], 0, slots - 1);
        const float* penalty = penalties.typed_data() + 3 * at;
        const Rules rules{asks.typed_data()[row] ? history.typed_data() + at * vocab : nullptr,
                          penalty[0],
                          penalty[1],
                          penalty[2],
                          position.typed_data()[row] < min_length.typed_data()[at],
                          bias_ids.typed_data() + at * biases,
                          bias.typed_data() + at * biases,
                          biases,
                          masked.typed_data()[row] ? mask_bits.typed_data() + row * words : nullptr};
        adjusted.resize(vocab);
        own.adjust(rules, from, vocab, adjusted.data());
        x = adjusted.data();
      }
      const Draw how{greedy.typed_data()[row], temperature.typed_data()[row], top_k.typed_data()[row],
                     top_p.typed_data()[row],  min_p.typed_data()[row],       seed.typed_data()[row],
                     position.typed_data()[row]};
      const int32_t token = drawn->typed_data()[row] = own.draw(how, x, vocab);
      const Logprobs to{drawn_logprob->typed_data() + row, top_ids->typed_data() + row * tops,
                        top->typed_data() + row * tops, tops};
      if (wanted.typed_data()[row]) {
        own.logprobs(from, vocab, token, to);
      } else {  // XLA leaves results as it finds them
        *to.drawn = 0;
        std::fill(to.top_ids, to.top_ids + tops, 0);
        std::fill(to.top, to.top + tops, 0.0f);
      }
    }
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace sgl::sampling

XLA_FFI_DEFINE_HANDLER_SYMBOL(sgl_draw, sgl::sampling::handle,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // logits [R, V]
                                  .Arg<xla::ffi::Buffer<xla::ffi::PRED>>()   // greedy [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // temperature [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()    // top_k [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // top_p [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // min_p [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::U32>>()    // seed [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()    // position [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::U16>>()    // history [slots, V]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // penalties [slots, 3]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()    // min_length [slots]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()    // bias_ids [slots, B]
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()    // bias [slots, B]
                                  .Arg<xla::ffi::Buffer<xla::ffi::S32>>()    // slot [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::PRED>>()   // asks [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::U32>>()    // mask_bits [R, words]
                                  .Arg<xla::ffi::Buffer<xla::ffi::PRED>>()   // masked [R]
                                  .Arg<xla::ffi::Buffer<xla::ffi::PRED>>()   // wants log-probabilities [R]
                                  .Ret<xla::ffi::Buffer<xla::ffi::S32>>()    // drawn [R]
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()    // its log-probability [R]
                                  .Ret<xla::ffi::Buffer<xla::ffi::S32>>()    // the likeliest tokens [R, tops]
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>());  // their log-probabilities
