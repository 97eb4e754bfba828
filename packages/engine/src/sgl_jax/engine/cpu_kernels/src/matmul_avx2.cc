#include "lanes_avx2.h"

#include "tiles.h"

namespace sgl {

extern const MatmulKernels kMatmulAvx2 = {plan, prepare, multiply};

}  // namespace sgl
