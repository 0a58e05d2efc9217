// cp.async.bulk.tensor: which elements a box moves, where they lie in shared memory, and when. PTX ISA, "Data Movement:
// cp.async.bulk.tensor"; CUDA C++ Programming Guide, "TMA swizzle": chunk c of 16 bytes in line y of 128 goes to c ^ y
// % 8, % 4 or % 2; elements outside the tensor are loaded as zeros, and not stored. Reader: whoever changes TmaCopies.
#include <algorithm>
#include <cstring>

#include "../../check.h"
#include "../expect.h"
#include "families.h"
#include "line.h"

namespace tilewise::ptx {
namespace {

constexpr uint32_t kLanes = 32, kShared = 5120, kBox = 1024;  // the box's place; the mbarrier is before it
const char* const kOuter[] = {"", "", "ww", "www", "wwww", "wwwww"};

std::string opcodeOf(int rank, bool isLoad) {
  const std::string start = "cp.async.bulk.tensor." + std::to_string(rank) + "d.";
  return start + (isLoad ? "shared::cluster.global.mbarrier::complete_tx::bytes" : "global.shared::cta.bulk_group");
}
std::string commit() { return lineOf("cp.async.bulk.commit_group", "").text + "\n"; }
std::string waitFor(const std::string& pending) {
  return lineOf("cp.async.bulk.wait_group", "i", {pending}).text + "\n";
}
std::string proxyFence() { return lineOf("fence.proxy.async.shared::cta", "").text + "\n"; }
std::string prefetch() { return lineOf("prefetch.tensormap", "[l]", {"%a2"}).text + "\n"; }

// Sources: the start of shared memory, whether this is the thread that copies, the map, bytes, coordinates.
const char* const kPrepare = R"(@%a1 mbarrier.init.shared::cta.b64 [%a0+16], 1;
@%a1 fence.mbarrier_init.release.cluster;
)";
const std::string kBarrier = "bar.sync 0;\n";
const std::string kExpect = "@%a1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%a0+16], %a3;\n";
const std::string kAwait = "AGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 %d0, [%a0+16], 0;\n@!%d0 bra AGAIN;\n";

std::string copyText(int rank, bool isLoad, const std::string& box) {
  const std::string corner = kOuter[rank];
  std::vector<std::string> names{box, "%a2"};
  if (!isLoad) std::swap(names[0], names[1]);
  for (int d = 0; d < rank; ++d) {
    names.insert(isLoad ? names.end() : names.end() - 1, "%a" + std::to_string(4 + d));
  }
  if (isLoad) names.push_back("%a0+16");
  const std::string form = isLoad ? "[w], [l, {" + corner + "}], [w]" : "[l, {" + corner + "}], [w]";
  return "@%a1 " + lineOf(opcodeOf(rank, isLoad), form, names).text + "\n";
}

struct Case {
  int rank, swizzle;
  int corner[5];
  uint32_t offset;  // of the box in its swizzle pattern
};

constexpr uint64_t kDims[] = {70, 5, 3, 2, 2}, kRoom[] = {72, 6, 3, 3, 2};  // elements; of the tensor, and in memory
constexpr uint32_t kBoxOuter[] = {0, 3, 2, 2, 2};

class Boxes {
 public:
  explicit Boxes(const Case& tested) : case_(tested) {
    uint64_t stride = 2;
    shape_.rank = tested.rank;
    shape_.swizzleBytes = tested.swizzle;
    for (int d = 0; d < tested.rank; ++d) {
      shape_.dims[d] = kDims[d];
      shape_.box[d] = d > 0 ? kBoxOuter[d] : tested.swizzle > 0 ? uint32_t(tested.swizzle) / 2 : 24;
      if (d > 0) shape_.strides[d - 1] = stride;
      stride *= kRoom[d];
      elements_ *= int(shape_.box[d]);
    }
    bytes_ = size_t(stride);
  }

  int elements() const { return elements_; }

  // Element i of the box, in bytes: in the tensor, -1 outside; and in shared memory.
  int64_t inTensor(int i) const {
    int64_t at = 0;
    for (int d = 0; d < case_.rank; i /= int(shape_.box[d]), ++d) {
      const int64_t x = case_.corner[d] + i % int(shape_.box[d]);
      if (x < 0 || x >= int64_t(kDims[d])) return -1;
      at += x * int64_t(d == 0 ? 2 : shape_.strides[d - 1]);
    }
    return at;
  }
  size_t inShared(int i) const {
    const uint32_t byte = kBox + case_.offset + 2 * uint32_t(i), line = byte / 128, chunk = byte / 16 % 8;
    const uint32_t turned = case_.swizzle == 0 ? chunk : chunk ^ line % uint32_t(case_.swizzle / 16);
    return line * 128 + turned * 16 + byte % 16;
  }

  Line line(const std::string& text) const {
    Line line;
    line.text = text;
    line.sources = std::string("spmw") + kOuter[case_.rank];
    line.results = "p";
    line.tensor = shape_;
    line.shared.resize(kShared);
    for (uint32_t i = 0; i < kShared; ++i) line.shared[i] = uint8_t(3 + 0x1d * i + i / 128);
    line.global.resize(bytes_);
    for (uint32_t i = 0; i < bytes_; ++i) line.global[i] = uint8_t(90 + 0x35 * i + i / 100);
    line.operands = {Bits(kLanes, 0), bitsOf(kLanes, [](uint32_t lane) { return lane == 9; }), Bits(kLanes, 0),
                     Bits(kLanes, uint64_t(elements_) * 2)};
    for (int d = 0; d < case_.rank; ++d) line.operands.push_back(Bits(kLanes, uint32_t(case_.corner[d])));
    return line;
  }
  Line load() const {
    return line(kPrepare + proxyFence() + kBarrier + prefetch() + kExpect + copyText(case_.rank, true, place()) +
                kAwait);
  }
  Line store() const {
    return line("mov.pred %d0, 0;\n" + proxyFence() + kBarrier + copyText(case_.rank, false, place()) + "@%a1 " +
                commit() + waitFor("0"));
  }
  std::string place() const { return "%a0+" + std::to_string(kBox + case_.offset); }

 private:
  Case case_;
  emulator::TensorShape shape_{};
  int elements_ = 1;
  size_t bytes_ = 0;
};

void checkBox(const Case& tested) {
  const Boxes boxes(tested);
  const std::string name = "rank " + std::to_string(tested.rank) + ", swizzle " + std::to_string(tested.swizzle);
  for (const bool isLoad : {true, false}) {
    Line line = isLoad ? boxes.load() : boxes.store();
    std::vector<uint8_t> shared = line.shared, global = line.global;
    for (int i = 0; i < boxes.elements(); ++i) {
      const int64_t from = boxes.inTensor(i);
      uint8_t* const at = &shared[boxes.inShared(i)];
      if (isLoad && from < 0) std::memset(at, 0, 2);
      if (from >= 0) std::memcpy(isLoad ? at : &global[size_t(from)], isLoad ? &line.global[size_t(from)] : at, 2);
    }
    for (const char* words : {"lazy", "eager", "random:3", "races"}) {
      line.words = words;
      const Outcome outcome = run(line);
      const std::string what = (isLoad ? "load, " : "store, ") + name + ", " + words;
      CHECK(outcome.error.empty(), "%s: %s", what.c_str(), outcome.error.c_str());
      expectBytes(what + ", shared", outcome.shared, shared);
      expectBytes(what + ", global", outcome.global, global);
    }
  }
}

void checkBoxes() {
  for (int rank = 2; rank <= 5; ++rank) {
    for (const int swizzle : {0, 32, 64, 128}) {
      checkBox({rank, swizzle, {3, 1, 1, 0, 0}, 0});
      checkBox({rank, swizzle, {61, 3, 2, 1, 1}, 128});
      checkBox({rank, swizzle, {-5, -1, -1, -1, 0}, 512});
    }
  }
}

// Five stores of a row each, in groups as cp.async's: 0, 1, 1, 2, none. A wait for all but N.
void checkGroups() {
  const uint32_t groups[] = {0, 1, 1, 2, 3};
  for (uint32_t pending = 0; pending <= 4; ++pending) {
    for (const char* words : {"lazy", "eager"}) {
      std::string text = "mov.pred %d0, 0;\n" + proxyFence() + kBarrier;
      for (uint32_t row = 0; row < 5; ++row) {
        text += "mov.b32 %a5, " + std::to_string(row) + ";\n" + copyText(2, false, "%a0+" + std::to_string(row * 128));
        if (row != 1 && row != 4) text += commit();
      }
      Line line = Boxes({2, 0, {}, 0}).line(text + waitFor(std::to_string(pending)));
      line.tensor = emulator::TensorShape{nullptr, 2, {16, 5}, {32}, {16, 1}, 0};
      line.words = words;
      std::vector<uint8_t> expected = line.global;
      for (uint32_t i = 0; i < 5 * 32; ++i) {
        const bool isThere = line.words == "eager" || groups[i / 32] + pending < 3;
        if (isThere) expected[i] = line.shared[i / 32 * 128 + i % 32];
      }
      const Outcome outcome = run(line);
      const std::string error = "exits with TMA stores that nobody waited for";
      CHECK(emulator::contains(outcome.error, error), "%s: %s", words, outcome.error.c_str());
      expectBytes("stores, all but " + std::to_string(pending) + " groups, " + words, outcome.global, expected);
    }
  }
}

const Case kUsual{2, 128, {3, 1}, 0};

// What is in flight is poison.
void checkFlight() {
  const Boxes boxes(kUsual);
  Line line = boxes.line(kPrepare + proxyFence() + kBarrier + kExpect + copyText(2, true, boxes.place()) +
                         "ld.shared.b32 %d1, [" + boxes.place() + "];\n" + kAwait);
  line.results = "pw";
  expectBits("a load in flight", run(line), 1, Bits(kLanes, 0xffffffff));
}

void expectFault(Line line, const std::string& words, std::initializer_list<const char*> parts) {
  line.words = words;
  const std::string error = run(line).error;
  for (const char* part : parts) CHECK(emulator::contains(error, part), "no '%s' in: %s", part, error.c_str());
}

void checkFaults() {
  const Boxes boxes(kUsual);
  const auto at = [&](uint32_t offset) { return Boxes({2, 128, {3, 1}, offset}).load(); };
  expectFault(at(64), "lazy", {"thread 9", "cp.async.bulk.tensor.2d", "the shared address is not a multiple of 128"});
  expectFault(at(kShared - kBox - 128), "lazy", {"384 bytes at shared address 6016 are outside the block's 5120"});
  Line line = boxes.load();
  line.operands[3] = Bits(kLanes, 256);
  expectFault(line, "lazy", {"deadlock", "mbarrier.try_wait", "0 of 1 arrivals and -128 bytes missing"});
  line.operands[3] = Bits(kLanes, 400);
  expectFault(line, "random:1", {"deadlock", "16 bytes missing"});
  line = boxes.load();
  line.operands[2] = Bits(kLanes, 8);
  expectFault(line, "lazy", {"prefetch.tensormap", "misaligned"});
  line.operands[2] = Bits(kLanes, 64);
  expectFault(line, "lazy", {"outside the parameters"});
  line = boxes.load();
  line.tensor.reset();
  expectFault(line, "lazy", {"prefetch.tensormap", "not a tensor map"});
  line = boxes.store();
  line.tensor.reset();
  expectFault(line, "lazy", {"global.shared::cta.bulk_group", "not a tensor map"});
  line = boxes.load();
  line.tensor->rank = 3;
  line.tensor->dims[2] = line.tensor->box[2] = 1;
  expectFault(line, "lazy", {"2 coordinates for a tensor of rank 3"});
  line = boxes.load();
  line.tensor->dims[1] = 7;
  expectFault(line, "lazy", {"the tensor is larger than its allocation"});
  line = boxes.line(kPrepare + proxyFence() + kBarrier + copyText(2, true, boxes.place()) + "mov.pred %d0, 0;");
  expectFault(line, "lazy", {"exits with TMA loads in flight"});
}

// What race checking asks of the fences and waits around copies.
void checkOrder() {
  const Boxes boxes(kUsual);
  const std::string init = kPrepare, noFence = init.substr(0, init.find('\n') + 1);
  const std::string load = copyText(2, true, boxes.place()), store = copyText(2, false, boxes.place());
  const std::string read = "ld.shared.b32 %d1, [" + boxes.place() + "];\n";
  const auto expect = [&](const std::string& text, std::initializer_list<const char*> parts) {
    Line line = boxes.line(text);
    line.results = "pw";
    line.words = "races";
    const std::string error = run(line).error;
    CHECK(parts.size() > 0 || error.empty(), "%s", error.c_str());
    for (const char* part : parts) CHECK(emulator::contains(error, part), "no '%s' in: %s", part, error.c_str());
  };
  expect(init + proxyFence() + kBarrier + kExpect + load + kAwait + read, {});
  expect(noFence + kBarrier + kExpect + load + kAwait + read, {"an mbarrier whose initialisation was not fenced"});
  expect(init + kBarrier + kExpect + load + kAwait + read,
         {"missing proxy fence, write after write", "TMA load by TMA"});
  expect(init + proxyFence() + kBarrier + kExpect + load + read + kAwait,
         {"race, read after write", "TMA load by TMA"});
  const std::string end = "mov.b32 %d1, 0;\nmov.pred %d0, 0;\n";
  const std::string done = "@%a1 " + commit() + waitFor("0"),
                    write = "@%a1 st.shared.b32 [" + boxes.place() + "], 1;\n";
  expect(end + proxyFence() + kBarrier + store + done + write, {});
  expect(end + kBarrier + store + done + write, {"missing proxy fence, read after write", "TMA store by TMA"});
  expect(end + proxyFence() + kBarrier + store + write + done, {"race, write after read", "TMA store by TMA"});
  expect(end + proxyFence() + kBarrier + store + waitFor("0") + write, {"race, write after read"});
}

}  // namespace

void checkBulkCopyOpcodes() {
  checkBoxes();
  checkGroups();
  checkFlight();
  checkFaults();
  checkOrder();
}

}  // namespace tilewise::ptx
