// See sampling.h.
#include "sampling.h"

#include "../../core/op/attention.h"
#include "../../core/pattern/sampled_blocks.h"
#include "reading.h"

namespace tilewise {
namespace {

// lib/patterns/sampled-blocks.ts writes them in this order.
enum class Field : size_t { block, rule, rate, floor, seed, layer, unbiased, heads, align, offset, count };

SampledBlocks readRule(const Numbers& n, const View& table) {
  const auto whole = [&](Field f, const char* name, double least, double most) {
    return n.whole(size_t(f), name, least, most);
  };
  SampledBlocks s;
  s.block = Token(whole(Field::block, "block", 1, kMaxTokens));
  s.probability.rule = KeepRule(whole(Field::rule, "a rule", 0, double(KeepRule::power)));
  s.probability.rate = n.at(size_t(Field::rate));
  s.probability.floor = n.at(size_t(Field::floor));
  s.seed = uint64_t(whole(Field::seed, "seed", 0, kMaxExact));
  s.layer = uint32_t(whole(Field::layer, "layer", 0, UINT32_MAX));
  s.isUnbiased = whole(Field::unbiased, "unbiased", 0, 1) == 1;
  s.heads = uint32_t(whole(Field::heads, "heads", 1, kMaxTokens));
  if (s.probability.rule != KeepRule::table) return s;
  s.probability.table.resize(size_t(table.bytes) / sizeof(double));
  if (s.probability.table.empty()) refuse(n.env(), "a table has an entry at least");
  std::memcpy(s.probability.table.data(), table.data, s.probability.table.size() * sizeof(double));
  return s;
}

template <class T>
Napi::Value toArray(Napi::Env env, const std::vector<T>& values) {
  Napi::TypedArrayOf<T> array = Napi::TypedArrayOf<T>::New(env, values.size());
  if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(T));
  return array;
}

}  // namespace

Napi::Value drawBlocks(Napi::Env env, const Napi::Value& numbers, const Napi::Value& lengths,
                       const Napi::Value& table) {
  const Numbers n(env, numbers, size_t(Field::count));
  const SampledBlocks rule = readRule(n, readView(env, table));
  WindowOptions window;
  window.align = Align(n.whole(size_t(Field::align), "align", 0, double(Align::explicitOffset)));
  window.offset = n.count(size_t(Field::offset), "offset", -kMaxTokens);
  const std::vector<int32_t> counts = copyOf(env, readView(env, lengths));
  std::vector<SampledSequence> sequences;
  for (size_t i = 0; i + 1 < counts.size(); i += 2) {
    const Token queries = counts[i], keys = counts[i + 1];
    if (queries < 0 || keys < 0 || queries > kMaxTokens || keys > kMaxTokens) refuse(env, "lengths are out of range");
    sequences.push_back({queries, keys, offsetOf(window, queries, keys)});
  }
  const BlockSample sample = sampleBlocks(rule, sequences);
  if (sample.starts.size() > size_t(INT32_MAX)) refuse(env, "there are too many blocks: make `block` larger");
  Napi::Object result = Napi::Object::New(env);
  result.Set("blockQueries", sample.queries);
  result.Set("begins", toArray(env, sample.begins));
  result.Set("counts", toArray(env, sample.counts));
  result.Set("starts", toArray(env, sample.starts));
  if (!sample.addends.empty()) result.Set("addends", toArray(env, sample.addends));
  return result;
}

}  // namespace tilewise
