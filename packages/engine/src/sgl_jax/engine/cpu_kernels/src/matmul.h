// Products of float32 activations [M, K] with a matrix [N, K] that was arranged in tiles when it was loaded.
//
// Sixteen columns of the result (rows of the matrix) lie together, so that one load gives a kernel the same part of
// all sixteen; what a kernel reads is one stream from its first column to its last. `layout.py` arranges:
//
//   q4_1   [N/16][K/32] blocks: 4 x 16 x 4 bytes, byte b of column n in quarter j holds code 4j+b in its low half and
//          code 16+4j+b in its high half; 16 scales; 16 minima (float16)
//   q4_0   the same without minima; a value is (code - 8) * scale
//   q8_0   [N/16][K/32] blocks: 8 x 16 x 4 codes, each plus 128; 16 scales
//   bf16   [N/16][K/2][16][2]
//   f32    [N/16][K][16]
//
// N is filled up to a multiple of 16 with zeros, and K to an even number (bf16).
//
// Functions here are static, so that each file compiles its own for its own instructions (see isa.h).
#pragma once

#include <cstdint>

namespace sgl {

enum class Format { q4_1, q4_0, q8_0, bf16, f32 };
constexpr int kFormats = 5;
constexpr int64_t kColumns = 16;
constexpr int64_t kGroup = 32;

static constexpr bool is_grouped(Format format) { return format <= Format::q8_0; }

// Bytes of sixteen columns.
static constexpr int64_t column_block_bytes(Format format, int64_t k) {
  switch (format) {
    case Format::q4_1:
      return k / kGroup * (256 + 32 + 32);
    case Format::q4_0:
      return k / kGroup * (256 + 32);
    case Format::q8_0:
      return k / kGroup * (512 + 32);
    case Format::bf16:
      return (k + 1) / 2 * 2 * kColumns * 2;
    default:
      return k * kColumns * 4;
  }
}

static constexpr int64_t column_blocks(int64_t n) { return (n + kColumns - 1) / kColumns; }

// How activations meet a matrix in groups. One of bf16 or f32 meets them as suits it, whatever is said.
enum class Precision {
  coded,   // in groups of eight-bit numbers, which suits few rows
  paired,  // as bfloat16, which suits many; where there are no kernels for that, coded
  exact,   // as float32
};

// Activations in the form that a kernel wants.
//
//   for groups, coded:  codes int8 [M, K], of each group of 32 by itself, with its scale and its sum [M, K/32]
//   the same for several rows with AMX:  [M/16][K/32][16][32], and [M/16][K/32][16]
//   for groups, exactly:  float32 [M, K], and sums
//   for bf16, and for groups if paired, with AMX:  bfloat16 [M/16][K/32][16][32], filled up with zeros
//   for bf16, with products of pairs:  bfloat16 [M, K], K filled up to an even number with a zero
//   else:  float32 [M, K], as they came
struct Activations {
  const float* floats = nullptr;
  const uint16_t* tiles = nullptr;
  const uint16_t* pairs = nullptr;
  const int8_t* codes = nullptr;
  const float* scales = nullptr;
  const float* sums = nullptr;
  int64_t rows = 0;
  int64_t k = 0;
  int64_t together = 1;  // how many rows lie among each other, and share cache lines
};

// Memory that the prepared form takes, at most.
static constexpr int64_t prepared_bytes(int64_t rows, int64_t k) {
  return (rows + 15) / 16 * 16 * (2 * (k + kGroup) + 2 * 4 * (k / kGroup)) + 3 * 64;
}

// Of gated feed-forward blocks; the numbers are known to `products.py`.
enum class Activation { silu, gelu_tanh };
constexpr int kActivations = 2;

// What one instruction set provides. These functions may be called for parts of the rows, or of the columns, by several
// threads at once.
struct MatmulKernels {
  // Whether `paired` is something else than `coded`.
  bool pairs;
  // Where the parts of the prepared form lie in `scratch` (aligned to 64 bytes).
  Activations (*plan)(Format format, Precision precision, const float* x, int64_t rows, int64_t k, char* scratch);
  // Fills in rows [begin, end) of them; does nothing where activations are taken as they come.
  void (*prepare)(Format format, const Activations& plan, const float* x, int64_t begin, int64_t end);
  // Blocks of columns [begin, end) of y[M, N].
  void (*multiply)(Format format, Precision precision, const Activations& x, const char* tiles, int64_t begin,
                   int64_t end, float* y, int64_t n);
  // out = scale * x / sqrt(mean(x^2) + eps), of one row.
  void (*normalize)(const float* x, const float* scale, float eps, int64_t size, float* out);
  // Turns elements i and i + half of a vector by the angle i; `out` may be `x`.
  void (*rotate)(const float* x, const float* cos, const float* sin, int64_t half, float* out);
  // out = a + b; `out` may be one of them.
  void (*add)(const float* a, const float* b, int64_t size, float* out);
  // out = activation(gates) * ups
  void (*gate)(Activation activation, const float* gates, const float* ups, int64_t size, float* out);
};

// Those for this machine.
const MatmulKernels& matmul_kernels();

extern const MatmulKernels kMatmulPortable;
extern const MatmulKernels kMatmulNeon;
extern const MatmulKernels kMatmulAvx2;
extern const MatmulKernels kMatmulAvx512;
extern const MatmulKernels kMatmulAvx512Bf16;
extern const MatmulKernels kMatmulAmx;

}  // namespace sgl
