// What lies between the product for queries, keys and values and attention: each head of a query or key is normalised,
// if the model does so, and turned by its token's angles.
#pragma once

#include <algorithm>
#include <cstdint>

#include "matmul.h"

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

// One head's vector, for attention; `norm` is the one for queries or for keys.
static inline void turn(const Projected& projected, int64_t token, const float* from, const float* norm, float* out) {
  const MatmulKernels& kernel = matmul_kernels();
  const int64_t half = projected.half;
  if (norm != nullptr) {
    kernel.normalize(from, norm, projected.eps, projected.dim, out);
    from = out;
  }
  kernel.rotate(from, projected.cos + token * half, projected.sin + token * half, half, out);
  if (from != out) std::copy(from + 2 * half, from + projected.dim, out + 2 * half);
}

}  // namespace sgl
