// See ops.h.
#include "ops.h"

#include <string>

namespace tilewise {

const std::vector<const Op*>& ops() {
  static const std::vector<const Op*> all{&kAppend,      &kAttention, &kCumulative, &kDelta,     &kEncode, &kLinear,
                                          &kLocalLinear, &kMerge,     &kRotary,     &kSelection, &kStats,  &kSummary};
  return all;
}

const Op& opNamed(Napi::Env env, const Napi::Value& name) {
  const std::string wanted = name.ToString();
  for (const Op* op : ops()) {
    if (wanted == op->name) return *op;
  }
  throw Napi::RangeError::New(env, "there is no operation " + wanted);
}

}  // namespace tilewise
