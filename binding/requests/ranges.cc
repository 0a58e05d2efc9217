// See ranges.h.
#include "ranges.h"

#include "../../core/pattern/document_ranges.h"
#include "../../core/pattern/power_ranges.h"
#include "../../core/pattern/slice_ranges.h"
#include "reading.h"

namespace tilewise {
namespace {

// The fields of an object that lib/ made.
class Fields {
 public:
  explicit Fields(const Napi::Value& value) : env_(value.Env()), object_(value.As<Napi::Object>()) {
    if (!value.IsObject()) refuse(env_, "ranges need fields");
  }

  int64_t whole(const char* name, int64_t least, int64_t most) const { return wholeOf(at(name), name, least, most); }
  Token count(const char* name) const { return Token(whole(name, 0, kMaxTokens)); }
  bool flag(const char* name) const { return at(name).ToBoolean(); }
  bool has(const char* name) const { return !at(name).IsUndefined(); }
  // A copy, so that nothing changes it between its check and its use; empty when it is absent.
  std::vector<int32_t> list(const char* name) const { return copyOf(env_, readView(env_, at(name))); }
  template <class Visit>
  void forEachList(const char* name, Visit&& visit) const {
    const Napi::Array lists = at(name).As<Napi::Array>();
    for (uint32_t i = 0; i < lists.Length(); ++i) visit(copyOf(env_, readView(env_, lists.Get(i))));
  }

 private:
  Napi::Value at(const char* name) const { return object_.Get(name); }
  int64_t wholeOf(const Napi::Value& value, const char* name, int64_t least, int64_t most) const {
    const double number = value.ToNumber();
    if (!(number >= double(least) && number <= double(most)) || number != std::floor(number)) {
      refuse(env_, std::string(name) + " is out of range");
    }
    return int64_t(number);
  }

  Napi::Env env_;
  Napi::Object object_;
};

Napi::Int32Array toArray(Napi::Env env, const int32_t* data, size_t length) {
  Napi::Int32Array array = Napi::Int32Array::New(env, length);
  if (length > 0) std::memcpy(array.Data(), data, length * sizeof(int32_t));
  return array;
}

Napi::Value toObject(Napi::Env env, const RangeTable& table) {
  static_assert(sizeof(Range) == 2 * sizeof(int32_t), "a range is its two ends");
  Napi::Object result = Napi::Object::New(env);
  result.Set("offsets", toArray(env, table.offsets.data(), table.offsets.size()));
  const auto* bounds = reinterpret_cast<const int32_t*>(table.ranges.data());
  result.Set("bounds", toArray(env, bounds, 2 * table.ranges.size()));
  return result;
}

// Calls what adds to a table.
template <class F>
void filling(Napi::Env env, F&& add) {
  try {
    add();
  } catch (const TooManyRanges&) {
    refuse(env, "the queries of the pattern see more than " + std::to_string(RangeTable().most) +
                    " ranges of keys in all: fewer scattered slices or positions, or fewer queries, fit");
  }
}

void requireAscending(Napi::Env env, const std::vector<int32_t>& list) {
  if (!std::is_sorted(list.begin(), list.end())) refuse(env, "a list must ascend");
}

// A number of each list of ranges.
Token at(const std::vector<int32_t>& perList, size_t list) {
  return perList.size() == 1 ? perList.front() : perList[list];
}

}  // namespace

Napi::Value documentRanges(Napi::Env env, const Napi::Value& value) {
  const Fields fields(value);
  DocumentRanges rule;
  rule.isCausal = fields.flag("causal");
  rule.causalBlock = fields.count("blockCausal");
  rule.prefix = fields.count("prefix");
  rule.isShared = fields.flag("shared");
  rule.lastSeesAll = fields.flag("lastSeesAll");
  rule.globalTokens = fields.count("globalTokens");
  rule.left = fields.count("left");
  rule.right = fields.count("right");
  RangeTable table;
  fields.forEachList("starts", [&](const std::vector<int32_t>& starts) {
    if (starts.empty() || starts.front() != 0 || starts.back() > kMaxTokens) refuse(env, "documents begin at 0");
    requireAscending(env, starts);
    rule.starts = starts.data();
    rule.documents = int32_t(starts.size()) - 1;
    filling(env, [&] { rule.addTo(table); });
  });
  return toObject(env, table);
}

Napi::Value sliceRanges(Napi::Env env, const Napi::Value& value) {
  const Fields fields(value);
  const Token queries = fields.count("queries");
  RangeTable table;
  SliceOverlap overlap;
  int32_t list = 0;
  fields.forEachList("slices", [&](const std::vector<int32_t>& numbers) {
    if (overlap.isAny) return;
    std::vector<AttentionSlice> slices;
    for (size_t i = 0; i + 4 < numbers.size(); i += 5) {
      const auto side = [&](size_t first) {
        const Range range{numbers[first], numbers[first + 1]};
        if (range.begin < 0 || range.end < range.begin || range.end > kMaxTokens)
          refuse(env, "a slice is out of range");
        return range;
      };
      slices.push_back({side(i), side(i + 2), (numbers[i + 4] & 1) != 0, (numbers[i + 4] & 2) != 0});
    }
    filling(env, [&] { overlap = addSlices(slices, queries, table); });
    list += !overlap.isAny;
  });
  if (!overlap.isAny) return toObject(env, table);
  const int32_t place[] = {list, overlap.slices[0], overlap.slices[1], overlap.query, overlap.key};
  Napi::Object result = Napi::Object::New(env);
  result.Set("overlap", toArray(env, place, std::size(place)));
  return result;
}

Napi::Value positionRanges(Napi::Env env, const Napi::Value& value) {
  const Fields fields(value);
  TokenPositions tokens;
  tokens.queries = fields.count("queries");
  tokens.keys = fields.count("keys");
  const std::vector<int32_t> offsets = fields.list("offsets");
  const std::vector<int32_t> ofQueries = fields.list("ofQueries"), ofKeys = fields.list("ofKeys");
  const size_t sets = offsets.size();
  const bool areGiven = fields.has("ofQueries");
  if (areGiven && (ofQueries.size() != sets * size_t(tokens.queries) || ofKeys.size() != sets * size_t(tokens.keys))) {
    refuse(env, "one position per token");
  }
  const std::vector<int32_t> left = fields.list("left"), right = fields.list("right"),
                             sinks = fields.list("sinkTokens");
  const PowerByPosition power{fields.whole("block", 0, kMaxTokens), fields.count("window"), fields.count("sinkBlocks")};
  const size_t lists = larger(left.size(), larger(right.size(), sinks.size()));
  for (const auto* perList : {&left, &right, &sinks}) {
    if (perList->size() != 1 && perList->size() != lists) refuse(env, "one number per list");
  }
  RangeTable table;
  for (size_t set = 0; set < sets; ++set) {
    tokens.offset = offsets[set];
    if (areGiven) {
      tokens.ofQueries = ofQueries.data() + set * size_t(tokens.queries);
      tokens.ofKeys = ofKeys.data() + set * size_t(tokens.keys);
      if (!std::is_sorted(tokens.ofKeys, tokens.ofKeys + tokens.keys)) refuse(env, "positions must ascend");
    }
    for (size_t list = 0; list < lists; ++list) {
      const WindowByPosition window{at(left, list), at(right, list), at(sinks, list)};
      filling(env, [&] {
        if (power.block > 0) {
          addByPosition(power, tokens, table);
        } else {
          addByPosition(window, tokens, table);
        }
      });
    }
  }
  return toObject(env, table);
}

}  // namespace tilewise
