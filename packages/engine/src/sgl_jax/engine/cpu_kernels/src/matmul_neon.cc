#if defined(__aarch64__)

#include "lanes_neon.h"

#include "rowwise.h"
#include "tiles.h"

namespace sgl {

extern const MatmulKernels kMatmulNeon = {plan, prepare, multiply, normalize, rotate, gate};

}  // namespace sgl

#endif
