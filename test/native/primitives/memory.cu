// Loads, stores and cp.async: every width, every number of bytes, and groups.
#include <cstring>

#include "values.h"

namespace tilewise::cuda::conformance {
namespace {

struct AccessParams {
  const uint8_t* in;  // 32 x 16 bytes
  uint8_t* out;       // 32 x 64
  float* floats;      // 32
};

__global__ void access(const __grid_constant__ AccessParams p) {
  const int lane = lane_id();
  const saddr mine = smem_base() + lane * 64;
  const uint4 loaded = ld_global_128(p.in + lane * 16);
  st_shared(mine, loaded);
  st_shared(mine + 16, loaded.y);
  st_shared(mine + 20, float(lane) + 0.25f);
  st_shared(mine + 24, uint16_t(loaded.z));
  st_shared(mine + 26, uint16_t(loaded.z >> 16));
  st_shared(mine + 28, uint32_t(0));
  const uint4 back = ld_shared_128(mine);
  st_global(p.out + lane * 64, back);
  st_global(p.out + lane * 64 + 16, ld_shared_128(mine + 16));
  st_global(p.out + lane * 64 + 32, uint4{ld_shared_u32(mine + 12), ld_shared_u16(mine + 6), ld_shared_u16(mine + 4),
                                          ld_shared_u32(mine + 24)});
  st_global(p.out + lane * 64 + 48, back);
  st_global(p.floats + lane, ld_shared_f32(mine + 20));
}

CONFORMANCE(accesses) {
  std::vector<uint8_t> in(32 * 16);
  for (size_t i = 0; i < in.size(); ++i) in[i] = uint8_t(i * 37 + i / 16);
  AccessParams p{upload(in), allocate<uint8_t>(32 * 64), allocate<float>(32)};
  launch(access, {1, 32, 32 * 64}, p);
  const auto out = download(p.out, 32 * 64);
  const auto floats = download(p.floats, 32);
  bool isOk = true;
  for (int lane = 0; lane < 32; ++lane) {
    const uint8_t* from = in.data() + lane * 16;
    uint32_t words[4];
    std::memcpy(words, from, 16);
    const float number = float(lane) + 0.25f;
    const uint32_t want[16] = {words[0], words[1],       words[2],          words[3],           //
                               words[1], bitsOf(number), words[2],          0,                  //
                               words[3], words[1] >> 16, words[1] & 0xffff, words[2],           //
                               words[0], words[1],       words[2],          words[3]};
    isOk = isOk && std::memcmp(out.data() + lane * 64, want, 64) == 0 && floats[lane] == number;
  }
  report("ld and st of 2, 4 and 16 bytes, shared and global", isOk);
}

// Copies of a lane, each to a place of its own.
constexpr int kCopies = 17;

struct CopyParams {
  const uint8_t* const* from;  // kCopies x 32
  const int32_t* bytes;
  uint32_t* before;  // kCopies x 32 x 4: what shared memory held
  uint8_t* out;      // kCopies x 32 x 16
};

__global__ void copy(const __grid_constant__ CopyParams p) {
  const saddr tile = smem_base();
  for (int i = 0; i < kCopies; ++i) {
    const uint32_t at = uint32_t(i * 32 + lane_id()), slot = at * 16;
    st_shared(tile + slot, uint4{~at, at ^ 0x55555555, at * 0x10001, ~0u});
    st_global(p.before + at * 4, ld_shared_128(tile + slot));
    cp_async16(tile + slot, p.from[at], p.bytes[at]);
    cp_async_commit();
  }
  cp_async_wait<1>();  // all but the last
  for (int i = 0; i < kCopies; ++i) {
    if (i == kCopies - 1) cp_async_wait<0>();
    const uint32_t slot = uint32_t(i * 32 + lane_id()) * 16;
    st_global(p.out + slot, ld_shared_128(tile + slot));
  }
}

CONFORMANCE(asyncCopies) {
  constexpr uint32_t kPlaces = kCopies * 32;
  std::vector<uint8_t> in(kPlaces * 16);
  for (size_t i = 0; i < in.size(); ++i) in[i] = uint8_t(1 + i * 31 % 255);
  const uint8_t* const source = upload(in);
  std::vector<const uint8_t*> from(kPlaces);
  std::vector<int32_t> counts(kPlaces);
  for (uint32_t at = 0; at < kPlaces; ++at) {
    counts[at] = int32_t((at / 32 + at) % 17);
    // With no bytes the source is not read, so it may be anything.
    from[at] = counts[at] == 0 ? nullptr : source + at * 16;
  }
  CopyParams p{upload(from), upload(counts), allocate<uint32_t>(kPlaces * 4), allocate<uint8_t>(in.size())};
  launch(copy, {1, 32, kPlaces * 16}, p);
  const auto before = download(p.before, kPlaces * 4);
  const auto out = download(p.out, in.size());
  bool isFilled = true;
  for (uint32_t at = 0; at < kPlaces; ++at) {
    const uint32_t want[4] = {~at, at ^ 0x55555555, at * 0x10001, ~0u};
    isFilled = isFilled && std::memcmp(&before[at * 4], want, 16) == 0;
  }
  report("shared memory before cp.async", isFilled);
  for (int32_t bytes = 0; bytes <= 16; ++bytes) {
    bool isOk = true;
    for (uint32_t at = 0; at < kPlaces; ++at) {
      if (counts[at] != bytes) continue;
      for (uint32_t b = 0; b < 16; ++b) {
        isOk = isOk && out[at * 16 + b] == (b < uint32_t(bytes) ? in[at * 16 + b] : 0);
      }
    }
    report("cp.async of 16 bytes, " + std::to_string(bytes) + " of them from memory", isOk);
  }
}

}  // namespace
}  // namespace tilewise::cuda::conformance
