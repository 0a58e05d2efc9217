// What rules make of documents, slices and positions: rows of ranges, as QueryRanges reads them.
// Reader: someone who follows a builder of lib/patterns into core/pattern.
#pragma once

#include <napi.h>

namespace tilewise {

// The fields of each are those of its type in lib/native/ranges.ts, which has checked them; what native code relies on
// is checked again. Returns { offsets, bounds }.
Napi::Value documentRanges(Napi::Env env, const Napi::Value& fields);
Napi::Value positionRanges(Napi::Env env, const Napi::Value& fields);
// Or { overlap: [list, slice, slice, query, key] }.
Napi::Value sliceRanges(Napi::Env env, const Napi::Value& fields);

}  // namespace tilewise
