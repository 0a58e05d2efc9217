// How the emulator's checks say what a kernel must do: run well under every schedule, or fail with a message.
// Reader: whoever adds a check.
#pragma once

#include <string>

#include "../check.h"
#include "../../../emulator/emulator.h"

namespace tilewise::emulator {

// What the launch throws; empty when it runs well.
template <class Kernel>
std::string errorOf(const Grid& grid, const Options& options, Kernel kernel) {
  try {
    launch(grid, options, kernel);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Each part of the message that must be there, under these options.
template <class Kernel, class... Part>
void expectError(const char* name, const Grid& grid, const std::string& options, Kernel kernel, Part... parts) {
  const std::string error = errorOf(grid, parseOptions(options), kernel);
  CHECK(!error.empty(), "%s, %s: runs well", name, options.c_str());
  for (const std::string& part : {std::string(parts)...}) {
    CHECK(contains(error, part), "%s, %s: no '%s' in: %s", name, options.c_str(), part.c_str(), error.c_str());
  }
}

template <class Kernel>
void expectNoError(const char* name, const Grid& grid, Kernel kernel) {
  for (const char* options : {"lazy", "eager", "random:1", "random:2", "random:3", "races", "races,random:4"}) {
    const std::string error = errorOf(grid, parseOptions(options), kernel);
    CHECK(error.empty(), "%s, %s: %s", name, options, error.c_str());
  }
}

}  // namespace tilewise::emulator
