// Philox 4x32-10: random bits as a function of a counter and a key, with no state, so that any part of them can be
// drawn alone. Reader: someone who draws. Idea: Salmon, Moraes, Dror and Shaw, Parallel Random Numbers: As Easy as 1,
// 2, 3 (SC 2011), whose library Random123 publishes the answers that test/native/core/philox_checks.cc compares.
#pragma once

#include "platform.h"

namespace tilewise {

struct PhiloxWords {
  uint32_t word[4];
};

// 128 random bits: one counter of four words, one key of two.
TW_HOST_DEVICE PhiloxWords philox4x32(PhiloxWords counter, uint64_t key) {
  constexpr int kRounds = 10;
  uint32_t key0 = uint32_t(key), key1 = uint32_t(key >> 32);
  uint32_t (&c)[4] = counter.word;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t even = uint64_t(0xD2511F53) * c[0], odd = uint64_t(0xCD9E8D57) * c[2];
    const uint32_t next[] = {uint32_t(odd >> 32) ^ c[1] ^ key0, uint32_t(odd), uint32_t(even >> 32) ^ c[3] ^ key1,
                             uint32_t(even)};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

}  // namespace tilewise
