// All that XLA calls, in one file: half of what it takes to compile any of these goes into XLA's headers.
#include "attention_ffi.h"
#include "copy_pages_ffi.h"
#include "kv_write_ffi.h"
#include "matmul_ffi.h"
#include "sampling_ffi.h"
