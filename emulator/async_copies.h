// AsyncCopies: cp.async of one thread, from the issue of a copy to its landing.
// Reader: whoever executes cp.async, on either machine of this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tilewise::emulator {

class AsyncCopies {
 public:
  static constexpr uint32_t kBytes = 16;  // that a copy fills

  struct Copy {
    uint32_t to;       // shared address
    const void* from;
    uint32_t bytes;    // read from there; zeros fill the rest
  };

  // `shared` is indexed by shared address. What has not landed is poison, and lands when it is waited for.
  void issue(uint8_t* shared, const Copy& copy, bool landsAtOnce);
  void commit() { ++committed_; }
  // Returns how many groups are complete now.
  uint32_t wait(uint8_t* shared, uint32_t pending);
  // The step, in the order of races.h, of copies that are issued now.
  uint32_t clock() const { return committed_ + 1; }

 private:
  struct Issued {
    Copy copy;
    uint32_t group;
  };
  std::vector<Issued> issued_;
  size_t landed_ = 0;  // of those, in order
  uint32_t committed_ = 0;
};

}  // namespace tilewise::emulator
