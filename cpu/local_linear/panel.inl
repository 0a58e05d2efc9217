// A panel of rows and the blocks of keys that it passes over. Included inside a target's anonymous namespace. Reader:
// see passes.inl, which says what is done with them. A row is a lane; everything per row and dim is [dim][kPanel].

// Keys [first, first + count).
struct Block {
  Token first;
  int count;
  bool isMasked;  // some rows do not see some of the keys
};

struct Panel {
  const LocalLinearTask* task;
  const LocalLinearProblem* p;
  int rows;  // of the problem; lanes behind them repeat the last
  Token allEnd, end;  // keys that all rows see, and that some do
  int blockKeys;
  Token keptKeys;
  bool hasFiniteKeys, hasFiniteValues;  // of those that only some rows see
  Token ends[kPanel];
  Vec total[kTileVecs];  // sum of the weights

  float *query, *mean;  // q; kbar, weighted, before it is divided by the total
  float *solution, *residual, *direction, *product;
  float* residuals;  // [keptResiduals][dim][kPanel], those of earlier iterations
  float* sizes;  // [keptResiduals][kPanel]: one over the squares of their lengths, 0 for 0
  int keptResiduals;
  float* output;
  float *keyRows, *valueRows;  // a block's, as float32
  float *scores, *products;  // [blockKeys][kPanel]
  float* kept;  // [keptKeys][kPanel]
  float* rowBuffer;  // [kPanel][dim]
};

// Lays out a panel's scratch from `base`; with base == nullptr only counts floats.
int64_t layOutPanel(const LocalLinearProblem& p, float* base, Panel& s) {
  s.p = &p;
  s.blockKeys = clamp(kBlockElements / paddedDim(p.headDim), kLeastBlockKeys, kMostBlockKeys);
  const int64_t room = kKeptBytes / (kPanel * int64_t(sizeof(float)));
  s.keptKeys = Token(smaller<int64_t>(p.keys, room / s.blockKeys * s.blockKeys));
  const int64_t keyDim = paddedDim(p.headDim), valueDim = paddedDim(p.valueDim);
  Carver carver(base);
  for (float** lanes : {&s.query, &s.mean, &s.solution, &s.residual, &s.direction, &s.product}) {
    carver.take(*lanes, keyDim * kPanel);
  }
  s.keptResiduals = p.isSolved() ? smaller(kMostResiduals, smaller(p.iterations, p.headDim)) : 0;
  carver.take(s.residuals, s.keptResiduals * keyDim * kPanel);
  carver.take(s.sizes, int64_t(s.keptResiduals) * kPanel);
  carver.take(s.output, valueDim * kPanel);
  carver.take(s.keyRows, s.blockKeys * keyDim);
  carver.take(s.valueRows, s.blockKeys * valueDim);
  carver.take(s.scores, int64_t(s.blockKeys) * kPanel);
  carver.take(s.products, int64_t(s.blockKeys) * kPanel);
  carver.take(s.kept, int64_t(s.keptKeys) * kPanel);
  carver.take(s.rowBuffer, kPanel * larger(keyDim, valueDim));
  return carver.floats();
}

SIMD void setZeros(float* to, int64_t count) { __builtin_memset(to, 0, size_t(count) * sizeof(float)); }

struct RowPlace {
  Token token;
  int32_t head;
};
SIMD RowPlace placeOf(const Panel& s, int lane) {
  const int64_t row = s.task->firstRow + smaller(lane, s.rows - 1);
  const int32_t group = s.p->headsPerKey();
  return {Token(row / group), s.task->head * group + int32_t(row % group)};
}

// Rows of q or r as lanes.
void readLanes(const Panel& s, const Operand& operand, float* lanes) {
  const LocalLinearProblem& p = *s.p;
  const int dim = paddedDim(p.headDim);
  const float* rows[kPanel];
  for (int lane = 0; lane < kPanel; ++lane) {
    const RowPlace at = placeOf(s, lane);
    float* const row = s.rowBuffer + int64_t(lane) * dim;
    rows[lane] = row;
    setZeros(row + dim - 16, 16);
    readRow(elementAt(operand.data, p.dtype, operand.offset(s.task->batch, at.token, at.head)), p.dtype, operand.dim,
            p.headDim, row);
  }
  rowsToLanes(rows, dim, 1.0f, lanes);
}

struct BlockRows {
  const float* rows;
  int64_t stride;
};

// A block's keys or values as float32: where they are, or converted to `buffer`.
BlockRows rowsOf(const Panel& s, const Operand& operand, int dim, Token first, int count, float* buffer) {
  const DType type = s.p->dtype;
  const void* const from = elementAt(operand.data, type, operand.offset(s.task->batch, first, s.task->head));
  if (type == DType::float32 && operand.dim == 1) return {static_cast<const float*>(from), operand.token};
  const int stride = paddedDim(dim);
  readRows(from, type, operand.token, operand.dim, count, dim, buffer, stride);
  return {buffer, stride};
}
BlockRows keysOf(const Panel& s, const Block& b) {
  return rowsOf(s, s.p->key, s.p->headDim, b.first, b.count, s.keyRows);
}
BlockRows valuesOf(const Panel& s, const Block& b) {
  return rowsOf(s, s.p->value, s.p->valueDim, b.first, b.count, s.valueRows);
}

// Calls step(block) for all keys that some row sees; false if the call is cancelled meanwhile.
template <class Step>
bool forEachBlock(const Panel& s, Step&& step) {
  Token first = 0;
  for (const Token end : {s.allEnd, s.end}) {
    const bool isMasked = first == s.allEnd;
    for (; first < end; first = smaller(end, first + s.blockKeys)) {
      step(Block{first, smaller(s.blockKeys, end - first), isMasked});
      if (!s.task->pause()) return false;
    }
  }
  return true;
}

bool areFinite(const BlockRows& block, int count, int dim) {
  float sum = 0;
  for (int i = 0; i < count; ++i) {
    for (int d = 0; d < dim; ++d) sum += zeroIfFinite(block.rows[i * block.stride + d]);
  }
  return sum == 0;
}

void beginPanel(const LocalLinearTask& task, float* scratch, Panel& s) {
  const LocalLinearProblem& p = *task.problem;
  layOutPanel(p, scratch, s);
  s.task = &task;
  const int64_t all = int64_t(p.queries) * p.headsPerKey();
  s.rows = int(smaller<int64_t>(kPanel, all - task.firstRow));
  for (int lane = 0; lane < kPanel; ++lane) s.ends[lane] = p.end(placeOf(s, lane).token);
  s.allEnd = s.ends[0];  // ends rise from row to row
  s.end = s.ends[kPanel - 1];
  s.hasFiniteKeys = s.hasFiniteValues = true;
  for (Token first = s.allEnd; first < s.end; first += s.blockKeys) {
    const Block block{first, smaller(s.blockKeys, s.end - first), true};
    s.hasFiniteKeys &= areFinite(keysOf(s, block), block.count, p.headDim);
    s.hasFiniteValues &= areFinite(valuesOf(s, block), block.count, p.valueDim);
  }
  readLanes(s, p.query, s.query);
}

// The output rows: lanes of `output` times a factor each.
void writePanel(const Panel& s, const Vec (&factor)[kTileVecs]) {
  const LocalLinearProblem& p = *s.p;
  const int dim = paddedDim(p.valueDim);
  float factors[kPanel];
  for (int c = 0; c < kTileVecs; ++c) store(factors + c * kLanes, factor[c]);
  float* rows[kPanel];
  for (int lane = 0; lane < kPanel; ++lane) rows[lane] = s.rowBuffer + int64_t(lane) * dim;
  lanesToRows(s.output, factors, p.valueDim, rows);
  for (int lane = 0; lane < s.rows; ++lane) {
    const RowPlace at = placeOf(s, lane);
    const int64_t offset = p.out.offset(s.task->batch, at.token, at.head);
    writeRow(rows[lane], p.valueDim, p.dtype, p.out.dim, static_cast<char*>(p.out.data) + offset * sizeOf(p.dtype));
  }
}
