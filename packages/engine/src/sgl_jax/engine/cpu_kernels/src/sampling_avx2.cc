#include "sampling_row.h"

namespace sgl::sampling {

const Kernels avx2_kernels = {adjust, draw, logprobs};

}  // namespace sgl::sampling
