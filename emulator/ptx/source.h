// The text of a module: where its kernels begin, and what stands around them.
// Reader: parser.cc, and ptx.h's Module.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "cursor.h"

namespace tilewise::ptx {

struct Source {
  std::string text;
  std::map<std::string, Cursor, std::less<>> kernels;  // at the parenthesis before a kernel's parameters
  std::map<uint32_t, std::string_view> files;          // of .loc
  std::set<std::string_view> sharedArrays;             // all the same memory, whose size a launch says
};

}  // namespace tilewise::ptx
