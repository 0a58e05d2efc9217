// Philox against the answers that Random123 publishes for it (kat_vectors, philox4x32 of 10 rounds).
#include "../../../core/base/philox.h"

#include "../check.h"

using namespace tilewise;

int main() {
  const struct {
    PhiloxWords counter;
    uint64_t key;
    PhiloxWords answer;
  } known[] = {
      {{{0, 0, 0, 0}}, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
      {{{~0u, ~0u, ~0u, ~0u}}, ~uint64_t(0), {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
      {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
       0x299f31d0a4093822,
       {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
  };
  for (const auto& k : known) {
    const PhiloxWords found = philox4x32(k.counter, k.key);
    for (int i = 0; i < 4; ++i) {
      CHECK(found.word[i] == k.answer.word[i], "word %d is %08x, not %08x", i, found.word[i], k.answer.word[i]);
    }
  }
  return finish("philox_checks");
}
