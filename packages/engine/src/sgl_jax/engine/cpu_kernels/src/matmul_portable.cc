#include "lanes_portable.h"

#include "rowwise.h"
#include "tiles.h"

namespace sgl {

extern const MatmulKernels kMatmulPortable = {false, plan, prepare, multiply, normalize, rotate, add, gate};

}  // namespace sgl
