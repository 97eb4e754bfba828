// Products of small matrices in cells (attention_cells.h), a few queries at a time. Included like attention_vector.h,
// by the same files.
#pragma once

#include "attention_cells.h"
#if defined(__AMX_BF16__)
#include "amx.h"
#endif

namespace sgl::attention {
namespace {

#if defined(__AMX_BF16__)

// Queries of a product.
constexpr int kRows = kTileRows;

// out[q, :] = fade[q] * out[q, :] + sum over n of left[q, n] * right[n, :], for kRows queries, up to four vectors and
// `count` cells, a multiple of kCellsTogether. Without `fade` there is nothing in `out` before.
template <int N>
void multiply(const float* left, int64_t left_stride, const float* right, int64_t right_stride, int count,
              const float* fade, float* out, int64_t out_stride) {
  constexpr int64_t kStride = N * kLanes;
  const auto bytes = [](int64_t floats) { return floats * static_cast<int64_t>(sizeof(float)); };
  _tile_zero(0);
  if (N > 1) _tile_zero(1);
  if (N > 2) _tile_zero(2);
  if (N > 3) _tile_zero(3);
  for (int i = 0; i < count; i += kCellsTogether) {
    const float* row = right + i * right_stride;
    _tile_loadd(4, left + i, bytes(left_stride));
    _tile_loadd(6, row, bytes(right_stride));
    _tile_dpbf16ps(0, 4, 6);
    if (N > 1) _tile_loadd(7, row + kLanes, bytes(right_stride));
    if (N > 1) _tile_dpbf16ps(1, 4, 7);
    if (N > 2) _tile_loadd(6, row + 2 * kLanes, bytes(right_stride));
    if (N > 2) _tile_dpbf16ps(2, 4, 6);
    if (N > 3) _tile_loadd(7, row + 3 * kLanes, bytes(right_stride));
    if (N > 3) _tile_dpbf16ps(3, 4, 7);
  }
  alignas(64) float products[kRows * kStride];
  float* to = fade == nullptr ? out : products;
  const int64_t stride = fade == nullptr ? out_stride : kStride;
  _tile_stored(0, to, bytes(stride));
  if (N > 1) _tile_stored(1, to + kLanes, bytes(stride));
  if (N > 2) _tile_stored(2, to + 2 * kLanes, bytes(stride));
  if (N > 3) _tile_stored(3, to + 3 * kLanes, bytes(stride));
  if (fade == nullptr) return;
  for (int q = 0; q < kRows; ++q) {
    for (int n = 0; n < N; ++n) {
      float* sum = out + q * out_stride + n * kLanes;
      store(sum, fma(load(sum), all(fade[q]), load(products + q * kStride + n * kLanes)));
    }
  }
}

#else

// Queries of a product that stay in registers, with kColumns vectors of results each.
constexpr int kRows = 6;

// out[q, :] = fade[q] * out[q, :] + sum over n of left[q, n] * right[n, :], for kRows queries, N vectors and `count`
// cells.
template <int N>
void multiply(const float* left, int64_t left_stride, const float* right, int64_t right_stride, int count,
              const float* fade, float* out, int64_t out_stride) {
  Vec sums[kRows][N] = {};
  if (fade != nullptr) {
    for (int q = 0; q < kRows; ++q) {
      for (int n = 0; n < N; ++n) sums[q][n] = load(out + q * out_stride + n * kLanes) * fade[q];
    }
  }
  for (int i = 0; i < count; ++i) {
    Vec row[N];
    for (int n = 0; n < N; ++n) row[n] = load(right + i * right_stride + n * kLanes);
    for (int q = 0; q < kRows; ++q) {
      const Vec factor = all_cells(left + q * left_stride + i);
      for (int n = 0; n < N; ++n) sums[q][n] = multiply_add(factor, row[n], sums[q][n]);
    }
  }
  for (int q = 0; q < kRows; ++q) {
    for (int n = 0; n < N; ++n) store(out + q * out_stride + n * kLanes, sums[q][n]);
  }
}

#endif

}  // namespace
}  // namespace sgl::attention
