// Single rows of an arranged matrix, for embeddings.
#pragma once

#include <cstdint>

#include "matmul.h"

namespace sgl {

// Row `row` of the matrix [., K] in `tiles`, as float32.
void unpack_row(Format format, const char* tiles, int64_t row, int64_t k, float* out);

}  // namespace sgl
