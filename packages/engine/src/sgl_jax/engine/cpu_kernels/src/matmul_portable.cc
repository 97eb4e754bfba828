#include "lanes_portable.h"

#include "rowwise.h"
#include "tiles.h"

namespace sgl {

extern const MatmulKernels kMatmulPortable = {plan, prepare, multiply, normalize, rotate, gate};

}  // namespace sgl
