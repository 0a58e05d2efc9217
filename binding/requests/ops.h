// The operations that lib/ can call, by name. Reader: someone who adds one: a file beside this one, and its line here
// and in ops.cc.
#pragma once

#include <napi.h>

#include <array>
#include <cstddef>
#include <vector>

#include "request.h"

namespace tilewise {

// A list of names of requests/fields.h.
class Names {
 public:
  constexpr Names() = default;
  template <size_t N>
  constexpr Names(const std::array<const char*, N>& names) : begin_(names.data()), count_(N) {}
  const char* const* begin() const { return begin_; }
  const char* const* end() const { return begin_ + count_; }
  size_t size() const { return count_; }

 private:
  const char* const* begin_ = nullptr;
  size_t count_ = 0;
};

struct Op {
  const char* name;
  Names fields, views;  // of every request
  Names itemFields, itemViews;  // then, again and again, of every part or stage
  // From a Float64Array of fields and an array of views: typed arrays, device buffers or undefined. Throws a RangeError
  // with a code.
  Request (*read)(Napi::Env env, const Napi::Value& numbers, const Napi::Value& views);
};

extern const Op kAppend, kAttention, kCumulative, kDelta, kEncode, kLinear, kLocalLinear, kMerge, kRotary, kSelection,
    kStats, kSummary;

const std::vector<const Op*>& ops();
// Throws when there is no such operation.
const Op& opNamed(Napi::Env env, const Napi::Value& name);

}  // namespace tilewise
