// Disturber: turns the arrays of a problem into others with the same contents, and some of them onto the device.
// Reader: someone who reads staging_checks.cc. Strides are of any order and sign, with gaps, or broadcast inputs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../../core/op/attention.h"
#include "host_machine.h"

namespace tilewise {

// An array of up to four axes, and where its strides are.
struct Array {
  void** data;
  bool* isOnDevice;
  int64_t elementBytes;
  std::vector<OperandAxis> axes;
};

class Disturber {
 public:
  Disturber(HostMachine& machine, uint32_t seed, bool toDevice)
      : machine_(machine), random_(seed), toDevice_(toDevice) {}

  void operator()(Array array, bool mayBroadcast) {
    if (!*array.data) return;
    relay(array, mayBroadcast);
  }
  // Moves an array without gaps to the device, or leaves it.
  void list(const Array& array) {
    const int64_t bytes = array.axes[0].size * array.elementBytes;
    if (onDevice()) {
      void* const moved = machine_.allocate(bytes);
      std::memcpy(moved, *array.data, size_t(bytes));
      moved_.push_back(*array.data = moved);
      *array.isOnDevice = true;
    }
    memory_.emplace_back(static_cast<char*>(*array.data), size_t(bytes));
  }
  // Moves what a selection wrote to the device, or not. Lists have no gaps; token masks need them on the host.
  void lists(BlockLists& b, size_t count, size_t entries) {
    if (b.masks || b.addends || !onDevice()) return;
    move(b.counts, count);
    move(b.starts, entries);
  }
  void result(Placed<int32_t>& list, size_t count) {
    if (onDevice()) move(list, count);
    memory_.emplace_back(reinterpret_cast<char*>(list.data), count * sizeof(int32_t));
  }

  ~Disturber() {
    for (void* data : moved_) machine_.free(data);
  }
  bool isAllOnHost() const { return moved_.empty(); }

  // Everything a result could have been written to.
  std::vector<std::vector<char>> snapshot() const {
    std::vector<std::vector<char>> all;
    for (const auto& [data, bytes] : memory_) all.emplace_back(data, data + bytes);
    return all;
  }
  void restore(const std::vector<std::vector<char>>& all) const {
    for (size_t i = 0; i < all.size(); ++i) std::copy(all[i].begin(), all[i].end(), memory_[i].first);
  }

  int pick(int n) { return int(random_() % uint32_t(n)); }

 private:
  bool onDevice() { return toDevice_ && pick(2); }

  template <class T>
  void move(Placed<T>& list, size_t count) {
    void* moved = machine_.allocate(int64_t(count * sizeof(T)));
    // memcpy refuses a list of no entries, whose pointer is null.
    std::copy_n(list.data, count, static_cast<std::remove_const_t<T>*>(moved));
    list = {static_cast<T*>(moved), true};
    moved_.push_back(moved);
  }

  void relay(const Array& a, bool mayBroadcast) {
    const size_t count = a.axes.size();
    std::vector<int64_t> old, stride(count);
    std::vector<size_t> order(count);
    for (size_t i = 0; i < count; ++i) {
      order[i] = i;
      old.push_back(*a.axes[i].stride);
    }
    if (pick(2)) std::shuffle(order.begin(), order.end(), random_);
    const bool isPlain = pick(3) == 0;
    int64_t step = 1, first = 0, elements = 1;
    for (size_t i = count; i-- > 0;) {
      const int64_t size = a.axes[order[i]].size;
      if (size == 0) elements = 0;
      if (!isPlain && mayBroadcast && pick(6) == 0) continue;  // stride 0
      stride[order[i]] = step + (isPlain || pick(3) ? 0 : pick(5));
      if (!isPlain && pick(4) == 0) stride[order[i]] *= -1;
      step = std::llabs(stride[order[i]]) * std::max<int64_t>(size, 1);
    }
    int64_t last = 0;
    for (size_t i = 0; i < count; ++i) {
      const int64_t reach = (a.axes[i].size - 1) * stride[i];
      (reach < 0 ? first : last) += reach;
    }
    if (elements == 0) return;
    const int64_t bytes = (last - first + 1) * a.elementBytes;
    char* memory;
    *a.isOnDevice = onDevice();
    if (*a.isOnDevice) {
      memory = static_cast<char*>(machine_.allocate(bytes));
      moved_.push_back(memory);
    } else {
      memory = blocks_.emplace_back(new char[size_t(bytes)]).get();
    }
    for (int64_t i = 0; i < bytes; ++i) memory[i] = char(0x11);
    memory_.emplace_back(memory, size_t(bytes));
    char* origin = memory - first * a.elementBytes;
    std::vector<int64_t> at(count, 0);
    for (bool isMore = true; isMore;) {
      int64_t from = 0, to = 0;
      for (size_t i = 0; i < count; ++i) {
        from += at[i] * old[i];
        to += at[i] * stride[i];
      }
      std::memcpy(origin + to * a.elementBytes, static_cast<const char*>(*a.data) + from * a.elementBytes,
                  size_t(a.elementBytes));
      isMore = false;
      for (size_t i = count; i-- > 0 && !isMore;) {
        if (++at[i] < a.axes[i].size) {
          isMore = true;
        } else {
          at[i] = 0;
        }
      }
    }
    *a.data = origin;
    for (size_t i = 0; i < count; ++i) *a.axes[i].stride = stride[i];
  }

  HostMachine& machine_;
  std::mt19937 random_;
  bool toDevice_;
  std::vector<std::unique_ptr<char[]>> blocks_;
  std::vector<void*> moved_;
  std::vector<std::pair<char*, size_t>> memory_;
};

inline Array rowsOf(Operand& o, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, DType type) {
  return {
      &o.data, &o.isOnDevice, sizeOf(type), {{batch, &o.batch}, {tokens, &o.token}, {heads, &o.head}, {dim, &o.dim}}};
}
template <class T>
void** pointerTo(T*& data) {
  return reinterpret_cast<void**>(const_cast<std::remove_const_t<T>**>(&data));
}
template <class T>
Array floatsOf(Placed<T>& array, std::vector<OperandAxis> axes) {
  return {pointerTo(array.data), &array.isOnDevice, sizeof(float), std::move(axes)};
}

// The blocks of codes, which are those of a case.
inline void disturb(Disturber& disturber, const CodedKeys& codes) {
  for (const CodeTier& given : codes.tiers) {
    CodeTier& tier = const_cast<CodeTier&>(given);
    int64_t one = 1;
    const int64_t bytes = tier.blocks * codes.heads * tier.headBytes();
    if (bytes > 0) disturber.list({pointerTo(tier.data.data), &tier.data.isOnDevice, 1, {{bytes, &one}}});
  }
}

inline void disturb(Disturber& disturber, AttentionProblem& p) {
  const int64_t heads = p.outputHeads();
  disturber(rowsOf(p.query, p.batch, p.queries, p.queryHeads, p.headDim, p.dtype), true);
  const KeyStore::Shape stored = p.store.shape(p.batch, p.keys);
  disturber(rowsOf(p.key, stored.batch, stored.tokens, p.kvHeads, p.headDim, p.keyType), true);
  disturber(rowsOf(p.value, stored.batch, stored.tokens, p.kvHeads, p.valueDim, p.keyType), true);
  disturber(rowsOf(p.extraKeys, p.batch, p.extraTokens, p.kvHeads, p.headDim, p.keyType), true);
  disturber(rowsOf(p.extraValues, p.batch, p.extraTokens, p.kvHeads, p.valueDim, p.keyType), true);
  disturber(rowsOf(p.out, p.batch, p.queries, heads, p.valueDim, p.dtype), false);
  disturber(floatsOf(p.lse, {{p.batch, &p.lseBatch}, {heads, &p.lseHead}, {p.queries, &p.lseToken}}), false);
  const ScoreShape shape{p.batch, heads, p.kvHeads, p.queries, p.keys, p.sequences};
  const auto disturbRule = [&](auto& rule) {
    rule.operand(shape, [&](auto& array, int64_t bytes, const auto& axes) {
      disturber({pointerTo(array.data), &array.isOnDevice, bytes, {std::begin(axes), std::end(axes)}}, true);
    });
  };
  disturbRule(p.scoreFactor);
  p.rules.forEach(disturbRule);
  disturber(floatsOf(p.sinks, {{heads, &p.sinksHead}}), true);
  p.gate.operand(p.batch, p.queries, heads, [&](auto& array, int64_t bytes, const auto& axes) {
    disturber({pointerTo(array.data), &array.isOnDevice, bytes, {std::begin(axes), std::end(axes)}}, true);
  });
  if (p.store.codes) disturb(disturber, *p.store.codes);
  BlockLists& b = p.blocks;
  if (b.begins) {
    const size_t lists = size_t(b.count(p.batch, p.outputHeads(), p.queries));
    size_t entries = 0;
    for (size_t i = 0; i < lists; ++i) entries = std::max(entries, size_t(b.begins[i] + b.counts[i]));
    disturber.lists(b, lists, entries);
  }
}

}  // namespace tilewise
