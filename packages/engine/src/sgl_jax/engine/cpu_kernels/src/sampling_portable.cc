#include "sampling_row.h"

namespace sgl::sampling {

const Kernels portable_kernels = {adjust, draw, logprobs};

}  // namespace sgl::sampling
