// See staging.h.

#include "staging.h"

#include <algorithm>

#include "tuning.h"

namespace tilewise::cuda {
namespace {

// Whether the runs are copied from where they are.
bool isDirect(const Packing& packing) {
  return packing.isCopy() && (packing.runs() == 1 || packing.runBytes() >= kPackBytes);
}

// Calls visit(first, count) for pieces of runs of at most so many bytes, but at least one run.
template <class Visit>
void inPieces(const Packing& packing, int64_t bytes, Visit&& visit) {
  const int64_t runs = packing.runs(), most = std::max<int64_t>(1, bytes / packing.runBytes());
  for (int64_t first = 0; first < runs; first += most) visit(first, std::min(most, runs - first));
}

char* at(void* data, int64_t bytes) { return static_cast<char*>(data) + bytes; }
const char* at(const void* data, int64_t bytes) { return static_cast<const char*>(data) + bytes; }

// The axes' strides become those of the copy.
Packing packingOf(const Staging::Axes& axes, const Staging::Form& form) {
  PackAxis sizes[Packing::kMaxAxes];
  int count = 0;
  for (const OperandAxis& axis : axes) sizes[count++] = {axis.size, *axis.stride};
  const Packing packing(sizes, count, form.elementBytes, form.rowAlignment, form.isRowDense, form.widening);
  count = 0;
  for (const OperandAxis& axis : axes) *axis.stride = packing.stride(count++);
  return packing;
}

}  // namespace

void* Staging::copyOf(const void* data, bool isOnDevice, const Axes& axes, const Form& form) {
  if (!data || isOnDevice) return const_cast<void*>(data);
  const Packing packing = packingOf(axes, form);
  void* device = queue_.allocate(packing.bytes());
  upload(packing, data, device);
  return device;
}

void* Staging::roomFor(void* data, bool isOnDevice, const Axes& axes, const Form& form) {
  if (!data || isOnDevice) return data;
  const Packing packing = packingOf(axes, form);
  void* device = queue_.allocate(packing.bytes());
  if (packing.bytes() > 0) results_.push_back({packing, data, device});
  return device;
}

void Staging::upload(const Packing& packing, const void* host, void* device) {
  const int64_t each = packing.runBytes();
  if (packing.bytes() == 0) return;
  if (isDirect(packing)) {
    for (int64_t run = 0; run < packing.runs(); ++run) {
      queue_.upload(at(device, run * each), at(host, packing.hostOffset(run)), each);
    }
    return;
  }
  inPieces(packing, kPackBytes, [&](int64_t first, int64_t count) {
    buffer_.resize(size_t(std::max(count * each, int64_t(buffer_.size()))));
    packing.pack(host, first, count, buffer_.data());
    queue_.upload(at(device, first * each), buffer_.data(), count * each);
  });
}

void Staging::deliver() {
  for (const Result& result : results_) {
    if (!isDirect(result.packing)) continue;
    const int64_t each = result.packing.runBytes();
    for (int64_t run = 0; run < result.packing.runs(); ++run) {
      queue_.download(at(result.host, result.packing.hostOffset(run)), at(result.device, run * each), each);
    }
  }
  queue_.wait();
  for (const Result& result : results_) {
    if (isDirect(result.packing)) continue;
    const int64_t each = result.packing.runBytes();
    inPieces(result.packing, kUnpackBytes, [&](int64_t first, int64_t count) {
      buffer_.resize(size_t(std::max(count * each, int64_t(buffer_.size()))));
      queue_.download(buffer_.data(), at(result.device, first * each), count * each);
      queue_.wait();
      result.packing.unpack(result.host, first, count, buffer_.data());
    });
  }
}

void Staging::input(Operand& o, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, Types types) {
  const Widening widening = types.host == types.device     ? Widening::none
                            : types.host == DType::float16 ? Widening::float16
                                                           : Widening::bfloat16;
  o.data = copyOf(o.data, o.isOnDevice, {{batch, &o.batch}, {tokens, &o.token}, {heads, &o.head}, {dim, &o.dim}},
                  {sizeOf(types.device), kRowAlignment, true, widening});
  o.isOnDevice = true;
}

void Staging::output(Operand& o, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, DType type) {
  o.data = roomFor(o.data, o.isOnDevice, {{batch, &o.batch}, {tokens, &o.token}, {heads, &o.head}, {dim, &o.dim}},
                   {sizeOf(type), kRowAlignment, true});
  o.isOnDevice = true;
}

}  // namespace tilewise::cuda
