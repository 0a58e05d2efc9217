// See ops.h.
#include "ops.h"

#include <string>
#include <string_view>

namespace tilewise {

const std::vector<const Op*>& ops() {
  static const std::vector<const Op*> all{&kAppend,      &kAttention, &kCumulative, &kDelta,     &kEncode, &kLinear,
                                          &kLocalLinear, &kMerge,     &kRotary,     &kSelection, &kStats,  &kSummary};
  return all;
}

const Op& opNamed(Napi::Env env, const Napi::Value& name) {
  // Into the stack: Napi::String would allocate.
  char text[32];
  size_t length = 0;
  if (napi_get_value_string_utf8(env, name, text, sizeof(text), &length) != napi_ok) {
    throw Napi::TypeError::New(env, "an operation must be a string");
  }
  const std::string_view wanted(text, length);
  for (const Op* op : ops()) {
    if (wanted == op->name) return *op;
  }
  throw Napi::RangeError::New(env, "there is no operation " + std::string(wanted));
}

}  // namespace tilewise
