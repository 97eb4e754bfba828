#if defined(__aarch64__)

#include "lanes_neon.h"

#include "rowwise.h"
#include "tiles.h"

namespace sgl {

extern const MatmulKernels kMatmulNeon = {false, plan, prepare, multiply, normalize, rotate, add, gate};

}  // namespace sgl

#endif
