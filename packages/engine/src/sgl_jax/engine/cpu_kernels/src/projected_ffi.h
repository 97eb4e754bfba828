// The product for queries, keys and values as XLA hands it over.
#pragma once

#include "projected.h"
#include "stack.h"

namespace sgl {

// `kv_heads` and `dim` are the pool's. False if shapes do not fit.
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

}  // namespace sgl
