#include "sampling_row.h"

namespace sgl::sampling {

const Kernels avx512_kernels = {adjust, draw, logprobs};

}  // namespace sgl::sampling
