// See staging.h.

#include "staging.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "../../core/op/backend.h"
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

void* Staging::roomFor(void* data, bool isOnDevice, const Axes& axes, const Form& form, bool isUpdate) {
  if (!data || isOnDevice) return data;
  const Packing packing = packingOf(axes, form);
  void* device = queue_.allocate(packing.bytes());
  if (isUpdate) upload(packing, data, device);
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
  if (o.data && o.isOnDevice && types.given != types.read) {
    const int64_t rows = batch * tokens;
    if (rows > std::numeric_limits<int32_t>::max()) {
      throw BackendError("ERR_TILEWISE_UNSUPPORTED",
                         "k and v are of another type than q and on the device, which converts " +
                             std::to_string(std::numeric_limits<int32_t>::max()) + " tokens at most, not " +
                             std::to_string(rows));
    }
    std::vector<int32_t> slots(static_cast<size_t>(rows));
    std::iota(slots.begin(), slots.end(), 0);
    return convert(o, batch, tokens, heads, dim, types, slots, batch);
  }
  const Widening widening = types.given == types.read       ? Widening::none
                            : types.given == DType::float16 ? Widening::float16
                                                            : Widening::bfloat16;
  o.data = copyOf(o.data, o.isOnDevice, {{batch, &o.batch}, {tokens, &o.token}, {heads, &o.head}, {dim, &o.dim}},
                  {sizeOf(types.read), kRowAlignment, true, widening});
  o.isOnDevice = true;
}

void Staging::inputStored(KeyStore& store, const InUse& inUse, std::initializer_list<Stored> all, int64_t heads,
                          Types types) {
  const auto isHere = [](const Stored& one) { return one.rows->data && one.rows->isOnDevice; };
  const auto [batch, tokens] = store.shape(inUse.batch, inUse.keys);
  if (store.isDense() || types.given == types.read || !std::all_of(all.begin(), all.end(), isHere)) {
    for (const auto& [rows, dim] : all) input(*rows, batch, tokens, heads, dim, types);
    return;
  }
  const PagesInUse& pages = pages_.emplace(store.paged, inUse.sequences, inUse.keys, inUse.lengths, inUse.starts);
  for (const auto& [rows, dim] : all) convert(*rows, batch, tokens, heads, dim, types, pages.slots, pages.count);
  pages.putInto(store.paged);
}

void Staging::inputCodes(KeyStore& store, int32_t sequences) {
  if (!store.codes) return;
  CodedKeys codes = *store.codes;
  int32_t blocks[CodedKeys::kMostTiers] = {};  // of each tier, up to the last that is in use
  for (int32_t s = 0; s < sequences; ++s) {
    const Token end = std::max(codes.keyEnds[s], codes.valueEnds[s]);
    for (Token token = 0; token < end; token += codes.blockTokens) {
      const CodedKeys::Place place = codes.placeOf(s, token);
      blocks[place.tier] = std::max(blocks[place.tier], place.block + 1);
    }
  }
  for (int32_t t = 0; t < CodedKeys::kMostTiers; ++t) {
    CodeTier& tier = codes.tiers[t];
    int64_t stride = 1;
    input(tier.data, {{blocks[t] * codes.heads * tier.headBytes(), &stride}}, {1, kRowAlignment, true});
  }
  inputList(codes.table, sequences * codes.tableBatch);
  inputList(codes.keyEnds, sequences);
  inputList(codes.valueEnds, sequences);
  void* const device = queue_.allocate(sizeof codes);
  queue_.upload(device, &codes, sizeof codes);
  store.codes = static_cast<const CodedKeys*>(device);
}

// Copies rows of [batch, tokens] to their slots of [copies, tokens], every row on a boundary of kRowAlignment.
void Staging::convert(Operand& o, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, Types types,
                      const std::vector<int32_t>& slots, int64_t copies) {
  Operand to;
  const int64_t elementBytes = sizeOf(types.read);
  to.head = (dim * elementBytes + kRowAlignment - 1) / kRowAlignment * kRowAlignment / elementBytes;
  to.token = heads * to.head;
  to.batch = tokens * to.token;
  to.data = queue_.allocate(copies * to.batch * elementBytes);
  to.isOnDevice = true;
  AppendProblem p;
  p.batch = int32_t(batch);
  p.tokens = Token(tokens);
  p.heads = int32_t(heads);
  p.from = types.given;
  p.to = types.read;
  p.keys = {int32_t(dim), o, to};
  p.slots = {int32_t(copies), Token(tokens), slots.data()};
  inputList(p.slots.list, int64_t(slots.size()));
  conversions_.push_back(p);
  o = to;
}

void Staging::output(Operand& o, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, DType type) {
  o.data = roomFor(o.data, o.isOnDevice, {{batch, &o.batch}, {tokens, &o.token}, {heads, &o.head}, {dim, &o.dim}},
                   {sizeOf(type), kRowAlignment, true}, false);
  o.isOnDevice = true;
}

}  // namespace tilewise::cuda
