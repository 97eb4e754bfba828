#include "product.h"

#include <memory>

#include "isa.h"

namespace sgl {

const MatmulKernels& matmul_kernels() {
#if defined(__aarch64__)
  if (isa() == Isa::neon) return kMatmulNeon;
#endif
  const auto& wide = SGL_FROM_AVX512(kMatmulAvx512, SGL_FROM_AVX2(kMatmulAvx2, kMatmulPortable));
  const auto& widest = SGL_FROM_AVX512BF16(kMatmulAvx512Bf16, wide);
  return SGL_FROM_AMX(kMatmulAmx, widest);
}

char* scratch(Purpose purpose, int64_t bytes) {
  struct Memory {
    std::unique_ptr<char[]> all;
    int64_t held = 0;
  };
  thread_local Memory memories[5];
  Memory& memory = memories[static_cast<int>(purpose)];
  if (memory.held < bytes) {
    memory.all.reset(new char[bytes + 64]);
    memory.held = bytes;
  }
  return memory.all.get() + (-reinterpret_cast<uintptr_t>(memory.all.get()) & 63);
}

Activations prepared(const Matrix& matrix, Precision precision, const float* x, int64_t rows, Norm norm) {
  const MatmulKernels& kernel = matmul_kernels();
  const int64_t k = matrix.k;
  float* normalized = nullptr;
  if (norm.scale != nullptr) {
    normalized = reinterpret_cast<float*>(scratch(Purpose::normalized, rows * k * static_cast<int64_t>(sizeof(float))));
  }
  const float* from = normalized == nullptr ? x : normalized;
  const Activations plan =
      kernel.plan(matrix.format, precision, from, rows, k, scratch(Purpose::activations, prepared_bytes(rows, k)));
  // No two threads should write to the same cache lines.
  const int64_t few = std::max<int64_t>(1, kPieceActivations / k);
  const int64_t piece = (few + plan.together - 1) / plan.together * plan.together;
  parallel_for(rows, piece, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end && normalized != nullptr; ++row) {
      kernel.normalize(x + row * k, norm.scale, norm.eps, k, normalized + row * k);
    }
    kernel.prepare(matrix.format, plan, from, begin, end);
  });
  return plan;
}

void multiply(const Matrix& matrix, Precision precision, const Activations& x, const float* bias, float* y) {
  const MatmulKernels& kernel = matmul_kernels();
  const int64_t blocks = column_blocks(matrix.n);
  parallel_for(blocks, blocks_a_piece(matrix, x.rows, blocks), [&](int64_t begin, int64_t end) {
    kernel.multiply(matrix.format, precision, x, matrix.tiles, begin, end, y, matrix.n);
    if (bias == nullptr) return;
    const int64_t first = begin * kColumns, columns = std::min(end * kColumns, matrix.n) - first;
    for (int64_t row = 0; row < x.rows; ++row) {
      float* own = y + row * matrix.n + first;
      kernel.add(own, bias + first, columns, own);
    }
  });
}

void multiply_and_add(const Matrix& matrix, Precision precision, const Activations& x, const float* addend, float* y) {
  const MatmulKernels& kernel = matmul_kernels();
  const int64_t all = column_blocks(matrix.n), together = blocks_a_tile(x.rows);
  parallel_for(all, blocks_a_piece(matrix, x.rows, all), [&](int64_t begin, int64_t end) {
    auto* tile = reinterpret_cast<float*>(scratch(Purpose::tile, x.rows * together * kColumns * 4));
    for (int64_t block = begin; block < end; block += together) {
      const int64_t blocks = std::min(together, end - block), first = block * kColumns;
      const int64_t columns = std::min(blocks * kColumns, matrix.n - first);
      multiply_tile(kernel, matrix, precision, x, block, blocks, tile);
      for (int64_t row = 0; row < x.rows; ++row) {
        const int64_t at = row * matrix.n + first;
        kernel.add(addend + at, tile + row * blocks * kColumns, columns, y + at);
      }
    }
  });
}

void multiply_and_gate(const Matrix& matrix, Precision precision, const Activations& x, Activation activation,
                       float* out) {
  const MatmulKernels& kernel = matmul_kernels();
  const int64_t inner = matrix.n / 2, half = inner / kColumns, together = blocks_a_tile(x.rows);
  parallel_for(half, blocks_a_piece(matrix, x.rows, half), [&](int64_t begin, int64_t end) {
    auto* gates = reinterpret_cast<float*>(scratch(Purpose::tile, 2 * x.rows * together * kColumns * 4));
    float* ups = gates + x.rows * together * kColumns;
    for (int64_t block = begin; block < end; block += together) {
      const int64_t blocks = std::min(together, end - block), columns = blocks * kColumns;
      multiply_tile(kernel, matrix, precision, x, block, blocks, gates);
      multiply_tile(kernel, matrix, precision, x, half + block, blocks, ups);
      for (int64_t row = 0; row < x.rows; ++row) {
        kernel.gate(activation, gates + row * columns, ups + row * columns, columns,
                    out + row * inner + block * kColumns);
      }
    }
  });
}

}  // namespace sgl

extern "C" int sgl_has_tiles() { return sgl::matmul_kernels().pairs ? 1 : 0; }
