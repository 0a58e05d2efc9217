// TMA loads and stores: ranks 2 to 5, every swizzle, boxes that stick out on either side.
// CUDA C++ Programming Guide, "TMA swizzle"; cuTensorMapEncodeTiled.
#include <cstring>
#include <string>

#include "../values.h"

namespace tilewise::cuda::conformance {
namespace {

constexpr int kThreads = 128;
constexpr int kFirstSlot = 1024;  // the barrier is before it
constexpr uint16_t kUntouched = 0xABCD;

struct TmaParams {
  TensorMap map;
  int rank, corner[5];
  int offset;  // of the box in its swizzle pattern
  int bytes;
  uint32_t* out;  // the box as it is in shared memory
};

__device__ saddr boxOf(const TmaParams& p) { return smem_base() + kFirstSlot + p.offset; }

__global__ void load(const __grid_constant__ TmaParams p) {
  const saddr barrier = smem_base(), box = boxOf(p);
  const int* c = p.corner;
  if (thread_index() == 0) {
    mbarrier_init(barrier, 1);
    fence_mbarrier_init();
  }
  sync_block();
  if (thread_index() == 0) {
    tma_prefetch(p.map);
    mbarrier_arrive_expect_tx(barrier, uint32_t(p.bytes));
    if (p.rank == 2) tma_load(box, p.map, barrier, c[0], c[1]);
    if (p.rank == 3) tma_load(box, p.map, barrier, c[0], c[1], c[2]);
    if (p.rank == 4) tma_load(box, p.map, barrier, c[0], c[1], c[2], c[3]);
    if (p.rank == 5) tma_load(box, p.map, barrier, c[0], c[1], c[2], c[3], c[4]);
  }
  mbarrier_wait(barrier, 0);
  for (int i = int(thread_index()); i < p.bytes / 4; i += kThreads) p.out[i] = ld_shared_u32(box + i * 4);
}

// What is stored is each element's place in shared memory.
__global__ void store(const __grid_constant__ TmaParams p) {
  const saddr box = boxOf(p);
  const int* c = p.corner;
  for (int i = int(thread_index()); i < p.bytes / 4; i += kThreads) {
    st_shared(box + i * 4, uint32_t(2 * i | (2 * i + 1) << 16));
  }
  fence_proxy_async();
  sync_block();
  if (thread_index() != 0) return;
  if (p.rank == 2) tma_store(p.map, box, c[0], c[1]);
  if (p.rank == 3) tma_store(p.map, box, c[0], c[1], c[2]);
  if (p.rank == 4) tma_store(p.map, box, c[0], c[1], c[2], c[3]);
  if (p.rank == 5) tma_store(p.map, box, c[0], c[1], c[2], c[3], c[4]);
  tma_store_commit();
  tma_store_wait<0>();
}

struct Case {
  int rank;
  int swizzle;
  int corner[5];
  int offset;
};

constexpr uint32_t kOuterBox[4] = {6, 4, 2, 3};  // of dims 1 to 4

class Tensor {
 public:
  explicit Tensor(const Case& tested) : case_(tested) {
    const uint64_t dims[5] = {200, 37, 9, 3, 4};
    const uint64_t room[4] = {208, 40, 10, 4};  // rows and planes are padded
    shape_.rank = tested.rank;
    shape_.swizzleBytes = tested.swizzle;
    uint64_t stride = 2;
    for (int d = 0; d < tested.rank; ++d) {
      shape_.dims[d] = dims[d];
      shape_.box[d] = d == 0 ? uint32_t(tested.swizzle != 0 ? tested.swizzle / 2 : 32) : kOuterBox[d - 1];
      if (d > 0) shape_.strides[d - 1] = stride;
      stride *= d < 4 ? room[d] : 4;
    }
    elements_ = stride / 2;
  }

  size_t elements() const { return elements_; }
  int boxElements() const {
    int count = 1;
    for (int d = 0; d < shape_.rank; ++d) count *= int(shape_.box[d]);
    return count;
  }
  TmaParams params(uint16_t* base, uint32_t* out) {
    shape_.base = base;
    TmaParams p{tensorMap(shape_), case_.rank, {}, case_.offset, boxElements() * 2, out};
    std::memcpy(p.corner, case_.corner, sizeof p.corner);
    return p;
  }

  // Element i of the box: where it is in the tensor, or -1; and where in shared memory, in elements.
  int64_t place(int i) const {
    int64_t at = 0;
    for (int d = 0; d < shape_.rank; ++d) {
      const int64_t x = case_.corner[d] + i % int(shape_.box[d]);
      i /= int(shape_.box[d]);
      if (x < 0 || x >= int64_t(shape_.dims[d])) return -1;
      at += d == 0 ? x : x * int64_t(shape_.strides[d - 1] / 2);
    }
    return at;
  }
  // Chunk x of 16 bytes in line y of 128 goes to x ^ y % 8, % 4 or % 2: lines are those of the address.
  int sharedPlace(int i) const {
    const int byte = 2 * i + case_.offset, line = byte / 128, chunk = byte / 16 % 8;
    const int turned = case_.swizzle == 0 ? chunk : chunk ^ line % (case_.swizzle / 16);
    return (byte - chunk * 16 + turned * 16 - case_.offset) / 2;
  }

  std::string name(const char* what) const {
    std::string text = std::string("tma ") + what + " rank " + std::to_string(case_.rank) + ", swizzle " +
                       std::to_string(case_.swizzle) + ", offset " + std::to_string(case_.offset) + ", at";
    for (int d = 0; d < case_.rank; ++d) text += " " + std::to_string(case_.corner[d]);
    return text;
  }

 private:
  Case case_;
  TensorShape shape_{};
  size_t elements_ = 0;
};

void checkLoad(const Case& tested) {
  Tensor tensor(tested);
  std::vector<uint16_t> values(tensor.elements());
  for (size_t i = 0; i < values.size(); ++i) values[i] = uint16_t(i * 31 + 1 + i / 65536);
  const int count = tensor.boxElements();
  auto* out = allocate<uint32_t>(size_t(count) / 2);
  launch(load, {1, kThreads, 65536}, tensor.params(upload(values), out));
  const auto words = download(out, size_t(count) / 2);
  bool isOk = true;
  for (int i = 0; i < count; ++i) {
    const int at = tensor.sharedPlace(i);
    const int64_t place = tensor.place(i);
    isOk = isOk && (words[at / 2] >> (at % 2 * 16) & 0xffff) == (place < 0 ? 0u : values[size_t(place)]);
  }
  report(tensor.name("load"), isOk);
}

void checkStore(const Case& tested) {
  Tensor tensor(tested);
  std::vector<uint16_t> values(tensor.elements(), kUntouched);
  auto* base = upload(values);
  launch(store, {1, kThreads, 65536}, tensor.params(base, nullptr));
  for (int i = 0; i < tensor.boxElements(); ++i) {
    if (tensor.place(i) >= 0) values[size_t(tensor.place(i))] = uint16_t(tensor.sharedPlace(i));
  }
  report(tensor.name("store"), download(base, tensor.elements()) == values);
}

CONFORMANCE(boxes) {
  for (const int swizzle : {0, 32, 64, 128}) {
    for (int rank = 2; rank <= 5; ++rank) {
      const Case inside{rank, swizzle, {16, 5, 2, 1, 1}, 0};
      const Case beyond{rank, swizzle, {184, 34, 7, 2, 2}, 0};
      const Case before{rank, swizzle, {-8, -3, -1, -1, -2}, 0};
      for (const Case& tested : {inside, beyond, before}) {
        checkLoad(tested);
        checkStore(tested);
      }
    }
    for (const int offset : {128, 512}) checkLoad({2, swizzle, {8, 1, 0, 0, 0}, offset});
  }
}

}  // namespace
}  // namespace tilewise::cuda::conformance
