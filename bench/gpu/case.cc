// See case.h.
#include "case.h"

#include <cmath>
#include <map>
#include <random>
#include <sstream>
#include <stdexcept>

namespace tilewise::bench {
namespace {

constexpr int32_t kWidth = 2048;   // of a model: heads times dims, where a line does not say how many heads
constexpr int32_t kTokens = 16384;  // of a batch, where a line does not say how many sequences

class Words {
 public:
  explicit Words(const std::string& line) {
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      const size_t at = word.find('=');
      if (at == std::string::npos) throw std::invalid_argument("'" + word + "' is no name=value");
      words_[word.substr(0, at)] = word.substr(at + 1);
    }
  }

  std::string text(const std::string& name, const std::string& otherwise) {
    const auto found = words_.find(name);
    if (found == words_.end()) return otherwise;
    const std::string value = found->second;
    words_.erase(found);
    return value;
  }
  int32_t number(const std::string& name, int32_t otherwise) {
    const std::string value = text(name, std::to_string(otherwise));
    return toNumber(value);
  }
  // 16x32x32
  std::vector<Token> axes(const std::string& name) {
    std::vector<Token> axes;
    std::istringstream parts(text(name, ""));
    for (std::string part; std::getline(parts, part, 'x');) axes.push_back(toNumber(part));
    return axes;
  }
  // Every word has to have been asked for.
  void finish() const {
    if (!words_.empty()) throw std::invalid_argument("nobody asked for '" + words_.begin()->first + "'");
  }

 private:
  static int32_t toNumber(const std::string& value) {
    size_t length = 0;
    const int32_t number = std::stoi(value, &length);
    if (length != value.size()) throw std::invalid_argument("'" + value + "' is no number");
    return number;
  }

  std::map<std::string, std::string> words_;
};

DType typeOf(const std::string& name) {
  for (const DType type : {DType::float32, DType::float16, DType::bfloat16}) {
    if (name == nameOf(type)) return type;
  }
  throw std::invalid_argument("'" + name + "' is no element type");
}

// [batch, token, head, dim], as models keep their projections.
void layOut(Operand& operand, int64_t tokens, int64_t heads, int64_t dim) {
  operand.dim = 1;
  operand.head = dim;
  operand.token = heads * dim;
  operand.batch = tokens * heads * dim;
}

// `listed` keys a block of queries and head, in chunks drawn evenly from what is visible: as scattered as lists can be.
void drawLists(Case& c, int32_t listed) {
  AttentionProblem& p = c.problem;
  const Token chunk = p.blocks.keys, blockQueries = p.blocks.queries;
  const int32_t blocks = ceilDiv(p.queries, blockQueries);
  p.blocks.byHead = blocks;
  std::mt19937 random(2);
  for (int32_t list = 0; list < blocks * p.outputHeads(); ++list) {
    c.begins.push_back(int32_t(c.starts.size()));
    const Token slots = (list % blocks + 1) * blockQueries / chunk;
    for (Token slot = 0; slot < slots; ++slot) {
      if (int32_t(random() % uint32_t(slots)) < listed / chunk) c.starts.push_back(slot * chunk);
    }
    c.counts.push_back(int32_t(c.starts.size()) - c.begins.back());
  }
}

// hierarchical()'s preset 'default' for 32768 keys and more, with a list for every KV head.
void select(Case& c) {
  AttentionProblem& p = c.problem;
  SelectionProblem& s = c.selection;
  c.isSelected = true;
  s.batch = p.batch;
  s.queryHeads = p.queryHeads;
  s.kvHeads = p.kvHeads;
  s.queries = p.queries;
  s.keys = p.keys;
  s.headDim = p.headDim;
  s.dtype = p.dtype;
  s.sink = p.window.sinkTokens = 128;
  s.window = 1024;
  s.headsPerList = p.outputHeads() / p.kvHeads;
  s.stages = 2;
  s.stage[0] = {64, 4, 64, 8192 / 64};
  s.stage[1] = {64, 1, 8, 2048 / 8};
  p.window.left = s.window - 1;
  BlockLists& lists = p.blocks;
  lists.queries = s.stage[1].blockQueries;
  lists.keys = s.stage[1].chunk;
  lists.headsPerList = s.headsPerList;
  lists.byHead = s.blocks(1);
  lists.byBatch = int64_t(s.lists()) * s.blocks(1);
  lists.hasWindow = true;
  for (int64_t list = 0; list < p.batch * lists.byBatch; ++list) {
    c.begins.push_back(int32_t(list * s.stage[1].keep));
  }
}

void readPattern(Words& words, const std::string& name, Case& c) {
  AttentionProblem& p = c.problem;
  if (name != "full" && name != "neighborhood") p.window.right = 0;
  if (name == "full" || name == "causal") return;
  if (name == "window") {
    p.window.left = words.number("window", 1024) - 1;
  } else if (name == "neighborhood") {
    p.pattern = PatternKind::neighborhood;
    const std::vector<Token> lengths = words.axes("grid"), kernels = words.axes("kernel");
    if (lengths.empty() || lengths.size() > kMaxRank || lengths.size() != kernels.size()) {
      throw std::invalid_argument("grid and kernel need one to three axes");
    }
    p.grid.rank = int32_t(lengths.size());
    for (size_t a = 0; a < lengths.size(); ++a) {
      p.grid.length[a] = lengths[a];
      p.grid.kernel[a] = kernels[a];
    }
  } else if (name == "s2") {
    p.pattern = PatternKind::stridedShards;
    p.shards.blockSize = words.number("block", 64);
    p.shards.localBlocks = words.number("local", 16);
    p.shards.vertStride = words.number("stride", 16);
  } else if (name == "lists") {
    p.pattern = PatternKind::blocks;
    p.blocks.queries = 64;
    p.blocks.keys = words.number("chunk", 64);
    drawLists(c, words.number("listed", 2048));
  } else if (name == "hip") {
    p.pattern = PatternKind::blocks;
    select(c);
  } else {
    throw std::invalid_argument("'" + name + "' is no pattern");
  }
}

}  // namespace

Case readCase(const std::string& line) {
  Case c;
  c.line = line;
  Words words(line);
  AttentionProblem& p = c.problem;
  p.dtype = typeOf(words.text("dtype", "bfloat16"));
  p.headDim = p.valueDim = words.number("dim", 128);
  p.keys = words.number("keys", 8192);
  p.queries = words.number("queries", p.keys);
  p.queryHeads = words.number("heads", larger(1, kWidth / p.headDim));
  p.kvHeads = words.number("kvHeads", p.queryHeads);
  p.batch = p.sequences = words.number("batch", larger(1, kTokens / p.keys));
  p.scale = 1 / std::sqrt(float(p.headDim));
  c.isCold = p.queries < 64;
  const std::string pattern = words.text("pattern", "full");
  readPattern(words, pattern, c);
  words.finish();
  layOut(p.query, p.queries, p.queryHeads, p.headDim);
  layOut(p.key, p.keys, p.kvHeads, p.headDim);
  layOut(p.value, p.keys, p.kvHeads, p.valueDim);
  layOut(p.out, p.queries, p.outputHeads(), p.valueDim);
  c.selection.query = p.query;
  c.selection.key = p.key;
  return c;
}

TileRule ruleOf(const cuda::LaunchPlan& plan) {
  const cuda::AttentionParams& params = plan.params;
  TileRule rule;
  rule.isDynamic = true;
  rule.isCut = plan.feed != cuda::KeyFeed::stream;
  if (traitsOf(params.problem).isGrid) {
    for (int a = 0; a < kMaxRank; ++a) rule.queries[a] = Token(1) << params.boxLog2[a];
    return rule;
  }
  rule.queries[0] = plan.rows;
  rule.keys[0] = plan.sizes.keys;
  rule.headsPerTile = params.map.headsPerToken;
  rule.rowsPerBlock = params.rowsPerBlock;
  return rule;
}

}  // namespace tilewise::bench
