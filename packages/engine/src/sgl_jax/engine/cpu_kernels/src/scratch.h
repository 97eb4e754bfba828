// Memory that a thread keeps from call to call.
#pragma once

#include <cstdint>

namespace sgl {

// Each has its own.
enum class Purpose { activations, normalized, gated, tile, columns };

// At least so many bytes, aligned to 64, with whatever is in them. What was got for the same purpose before is gone.
char* scratch(Purpose purpose, int64_t bytes);

}  // namespace sgl
