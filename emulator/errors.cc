// Messages, with source lines by addr2line: failures are rare, and a process of its own needs no library.
#include "errors.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <map>

#include "block.h"

namespace tilewise::emulator {
namespace {

constexpr int kFrames = 3;

std::string run(const std::string& command) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  char line[512];
  while (std::fgets(line, sizeof line, pipe) != nullptr) output += line;
  pclose(pipe);
  return output;
}

bool isKernelLine(const std::string& line) {
  return line[0] != '?' && line.find("emulated_prims.h") == std::string::npos &&
         line.find("emulated_kernel.h") == std::string::npos;
}

}  // namespace

std::string withThread(const std::string& what) {
  const Thread& thread = self();
  return "block " + std::to_string(block().index) + " thread " + std::to_string(thread.index) + " (warp " +
         std::to_string(thread.warp) + " lane " + std::to_string(thread.lane) + "): " + what;
}

void fail(const std::string& what) { throw Error(withThread(what)); }

std::string sourceLine(const void* where) {
  Dl_info image;
  if (where == nullptr || dladdr(where, &image) == 0) return "?";
  // The call, not the instruction after it.
  const auto offset = static_cast<const char*>(where) - static_cast<const char*>(image.dli_fbase) - 1;
  char address[32];
  std::snprintf(address, sizeof address, "0x%zx", size_t(offset));
  const std::string lines =
      run("addr2line -i -s -e '" + std::string(image.dli_fname) + "' " + address + " 2>/dev/null");
  std::string text;
  int frames = 0;
  for (size_t start = 0, end; (end = lines.find('\n', start)) != std::string::npos && frames < kFrames;
       start = end + 1) {
    // "file.h:12 (discriminator 3)"
    std::string line = lines.substr(start, end - start);
    line = line.substr(0, line.find(' '));
    if (line.empty() || !isKernelLine(line)) continue;
    text += (frames++ > 0 ? " < " : "") + line;
  }
  return text.empty() ? address : text;
}

void failDeadlocked() {
  std::map<const void*, std::string> lines;
  auto lineOf = [&](const void* where) {
    auto [entry, isNew] = lines.try_emplace(where);
    if (isNew) entry->second = sourceLine(where);
    return entry->second;
  };
  std::string text = "deadlock; every thread waits:";
  for (uint32_t w = 0; w < block().warps.size(); ++w) {
    std::map<std::string, int> waiting;
    for (uint32_t lane = 0; lane < kLanes; ++lane) {
      const Thread& thread = block().threadStates[w * kLanes + lane];
      ++waiting[thread.hasExited ? "exited" : std::string(thread.operation) + " @" + lineOf(thread.where)];
    }
    text += "\n  warp " + std::to_string(w) + ":";
    for (const auto& [what, count] : waiting) text += " " + std::to_string(count) + "x[" + what + "]";
  }
  fail(text + block().mbarriers.describe());
}

}  // namespace tilewise::emulator
