#include "lanes_portable.h"

#include "tiles.h"

namespace sgl {

extern const MatmulKernels kMatmulPortable = {plan, prepare, multiply};

}  // namespace sgl
