// wgmma's shared memory descriptors: where an operand's elements lie. PTX ISA, "Canonical layouts".
// Accepts what is documented and nothing else. Reader: warpgroup_products.cc, and the tests of this.
#pragma once

#include <cstdint>
#include <string>

namespace tilewise::emulator {

class Operand {
 public:
  // What is wrong with a descriptor; empty where it is one.
  static std::string faultOf(uint64_t descriptor, bool isMnMajor);
  Operand(uint64_t descriptor, bool isMnMajor);

  // Address of the 16 bytes that hold element (mn, k) and the seven after it along the major dimension.
  uint32_t chunk(uint32_t mn, uint32_t k) const;
  // Address of one element.
  uint32_t element(uint32_t mn, uint32_t k) const;

  // visit(address, mn, k) for every chunk of an operand with `extent` rows (columns) and 16 of k.
  template <class Visit>
  void forEachChunk(uint32_t extent, Visit visit) const {
    for (uint32_t mn = 0; mn < extent; mn += isMnMajor_ ? 8 : 1) {
      for (uint32_t k = 0; k < 16; k += isMnMajor_ ? 1 : 8) visit(chunk(mn, k), mn, k);
    }
  }

 private:
  uint32_t start_, leadingOffset_, strideOffset_;
  uint32_t spanBytes_;  // of the swizzle; 16 is none
  bool isMnMajor_;
};

}  // namespace tilewise::emulator
