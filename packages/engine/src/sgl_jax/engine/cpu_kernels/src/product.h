// Products by all threads, which share them out in one of two ways. What a row gets is the same either way.
//
// By columns: activations are brought into their form once, then whoever is free takes blocks of columns. Each column
// of the matrix is read once, which is what counts for a few rows. But each thread needs all activations, and the next
// product all results, and what one core has written costs another one a quarter of a microsecond a cache line.
//
// By rows: each thread takes rows through as many products as there are, and needs nothing of the others. Each reads
// the whole matrix, which is hidden behind the arithmetic of several rows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "matmul.h"
#include "scratch.h"
#include "threads.h"

namespace sgl {

// One matrix [n, k].
struct Matrix {
  Format format;
  const char* tiles;
  int64_t n, k;
};

// A norm before a product. Without a scale there is none.
struct Norm {
  const float* scale = nullptr;
  float eps = 0;
};

// Rows that each thread must get for a division by rows, and how many it takes at once: few, so that a thread that is
// kept from running does not keep all others waiting. Tiles of bfloat16 take so little time that only many rows hide
// the reading; those of eight-bit numbers want as many rows as there are, for what is done once a group. A thread with
// less than a whole tile of vectors (tiles.h) rather shares the columns, and where codes have a byte of their own, of
// which vectors read twice as much, so does one with less than tiles are made for (coded_amx.h).
struct RowsAThread {
  int64_t fewest, most;
};
constexpr RowsAThread kUntiledRows = {3, 8}, kCodedTileRows = {8, 32}, kByteTileRows = {9, 32},
                      kTiledRows = {32, 256};
// Matrices that are larger together are divided by columns always: they would come from memory again for each piece,
// and what threads tell each other is little beside that.
constexpr int64_t kMostBytesByRows = 6 << 20;
// What a piece of a loop over columns reads. Each piece begins with waiting for memory, so it should not be small.
constexpr int64_t kPieceBytes = 64 * 1024;
// Activations that one thread brings into their form.
constexpr int64_t kPieceActivations = 2048;
// Results that are computed before they are used, while they are in the cache.
constexpr int64_t kTileFloats = 2048;

// `rows` rows of x[., matrix.k], normalised if need be, in the form that the matrix wants. They lie in the scratch of
// the calling thread: what was made there before is gone.
Activations prepared(const Matrix& matrix, Precision precision, const float* x, int64_t rows, Norm norm);

// y[rows, n] = x times the matrix transposed, plus `bias` [n] if there is one.
void multiply(const Matrix& matrix, Precision precision, const Activations& x, const float* bias, float* y);

// y[rows, n] = addend + x times the matrix transposed; y may be the addend.
void multiply_and_add(const Matrix& matrix, Precision precision, const Activations& x, const float* addend, float* y);

// out[rows, n / 2] = activation(x times the matrix's first half transposed) * (x times its second half transposed)
void multiply_and_gate(const Matrix& matrix, Precision precision, const Activations& x, Activation activation,
                       float* out);

static inline int64_t bytes_of(const Matrix& matrix) {
  return column_blocks(matrix.n) * column_block_bytes(matrix.format, matrix.k);
}

// Calls work(begin, end) until all rows are done: for all at once, or for some by each thread. Loops over columns
// within `work` then find that they are inside of a loop, and run on one thread. `bytes` is what `work` reads of
// matrices.
template <class Work>
void by_rows(int64_t rows, int64_t bytes, const RowsAThread& share, Work&& work) {
  const int64_t threads = num_threads(), each = (rows + threads - 1) / threads;
  if (threads == 1 || each < share.fewest || bytes > kMostBytesByRows) {
    work(int64_t{0}, rows);
  } else {
    const int64_t turns = (each + share.most - 1) / share.most;
    parallel_for(rows, (each + turns - 1) / turns, work);
  }
}

// Blocks of columns that a thread takes at once: pieces of `count` blocks that are alike, and as many for each thread.
static inline int64_t blocks_a_piece(const Matrix& matrix, int64_t rows, int64_t count) {
  const int64_t bytes = std::max<int64_t>(column_block_bytes(matrix.format, matrix.k) * rows, 1);
  const int64_t threads = num_threads(), pieces = std::max<int64_t>(count * bytes / kPieceBytes, 1);
  const int64_t even = (pieces + threads - 1) / threads * threads;
  return std::max<int64_t>((count + even - 1) / even, 1);
}

// Blocks of columns whose results make up a tile.
static inline int64_t blocks_a_tile(int64_t rows) { return std::max<int64_t>(kTileFloats / (rows * kColumns), 4); }

// The product of some blocks of columns from `block` on: float32 [rows, count * 16] in `to`.
static inline void multiply_tile(const MatmulKernels& kernel, const Matrix& matrix, Precision precision,
                                 const Activations& x, int64_t block, int64_t count, float* to) {
  const char* from = matrix.tiles + block * column_block_bytes(matrix.format, matrix.k);
  kernel.multiply(matrix.format, precision, x, from, 0, count, to, count * kColumns);
}

}  // namespace sgl
