// The few float32 instances that mutants are tried on.
#include "../../../cuda/attention/sm80/instances.h"

namespace tilewise::cuda {
TW_ATTENTION_KERNEL(stream, window, OneWindow, float32, float, 32)
TW_ATTENTION_KERNEL(gather, window, WindowOrRanges, float32, float, 32)
TW_ATTENTION_KERNEL(decode, window, WindowOrRanges, float32, float, 32)
TW_ATTENTION_HELPERS(float32, float)
}  // namespace tilewise::cuda
