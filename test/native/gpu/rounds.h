// The rounds of a check on a GPU: cases by seed, each under the emulator's modes. Reader: the checks beside it.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "../../../core/op/backend.h"
#include "../check.h"

namespace tilewise {

// Arguments: rounds, then the emulator's modes; `usual` rounds, and two modes, unless they say otherwise.
template <class Make, class Check>
void checkRounds(int argc, char** argv, int usual, Make&& makeCase, Check&& checkCase) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : usual;
  std::vector<std::string> modes(argv + smaller(argc, 2), argv + argc);
  if (modes.empty()) modes = {"lazy", "races,random:7"};
  for (int seed = 0; seed < rounds; ++seed) {
    auto one = makeCase(uint32_t(seed));
    for (const std::string& mode : modes) {
      try {
        checkCase(one, mode);
      } catch (const BackendError& error) {
        CHECK(false, "%s, %s: %s", one.name.c_str(), mode.c_str(), error.what());
      }
    }
  }
}

}  // namespace tilewise
