// What lies between the product for queries, keys and values and attention: each head of a query or key is normalised,
// if the model does so, and turned by its token's angles.
#pragma once

#include <algorithm>
#include <cstdint>

#include "matmul.h"
#include "stack.h"
#include "xla/ffi/api/ffi.h"

namespace sgl {

struct Projected {
  const float* qkv;                    // [T, (H + 2 K) D]
  const float *cos, *sin;              // [T, half]
  const float *query_norm, *key_norm;  // [D] or null
  float eps;
  int64_t tokens, heads, kv_heads, dim, half;

  const float* query(int64_t token, int64_t head) const {
    return qkv + (token * (heads + 2 * kv_heads) + head) * dim;
  }
  const float* key(int64_t token, int64_t head) const { return query(token, heads + head); }
  const float* value(int64_t token, int64_t head) const { return query(token, heads + kv_heads + head); }
};

// What XLA hands over; `kv_heads` and `dim` are the pool's. False if shapes do not fit.
static inline bool find_projected(const Floats& qkv, const Floats& cos, const Floats& sin, const Floats& query_norm,
                                  const Floats& key_norm, float eps, int64_t kv_heads, int64_t dim, Projected& found) {
  const auto shape = qkv.dimensions(), angles = cos.dimensions();
  const auto fits = [dim](const Floats& norm) {
    return norm.element_count() == 0 || static_cast<int64_t>(norm.element_count()) == dim;
  };
  if (shape.size() != 2 || angles.size() != 2 || dim < 1 || shape[1] % dim != 0 || angles[0] != shape[0] ||
      sin.element_count() != cos.element_count() || 2 * angles[1] > dim || !fits(query_norm) || !fits(key_norm)) {
    return false;
  }
  found = {qkv.typed_data(), cos.typed_data(), sin.typed_data(), optional(query_norm), optional(key_norm), eps,
           shape[0], shape[1] / dim - 2 * kv_heads, kv_heads, dim, angles[1]};
  return found.heads > 0;
}

// One head's vector, for attention; `norm` is the one for queries or for keys. Su et al. 2021: dimensions i and i +
// half are turned by the token's angle i. What lies beyond stays as it is.
static inline void turn(const Projected& projected, int64_t token, const float* from, const float* norm, float* out) {
  const int64_t half = projected.half;
  const float *cos = projected.cos + token * half, *sin = projected.sin + token * half;
  if (norm != nullptr) {
    matmul_kernels().normalize(from, norm, projected.eps, projected.dim, out);
    from = out;
  }
  for (int64_t i = 0; i < half; ++i) {
    const float first = from[i], second = from[i + half];
    out[i] = first * cos[i] - second * sin[i];
    out[i + half] = second * cos[i] + first * sin[i];
  }
  if (from != out) std::copy(from + 2 * half, from + projected.dim, out + 2 * half);
}

}  // namespace sgl
