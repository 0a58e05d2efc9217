// Statistics of a group of queries, strip by strip. Included inside a target's anonymous namespace after scores.inl.
// Reader: start at run() at the end. Without a given lse the weights of a strip are kept while it is computed, each
// block relative to the largest score so far, and then read once more with a factor per row and block; a strip with too
// many keys for that computes its scores twice.

SIMD float expOf(float x) {
  float value[kLanes];
  store(value, exp(splat(x)));
  return value[0];
}

// Of n keys from token `begin` on.
struct Block {
  int index;
  Token begin;
  int n, width;
};

// Scores become weights relative to the row's largest score so far, which factors[] is told.
void weighBlock(const Strip& s, const Block& b) {
  for (int r = 0; r < s.rows; ++r) {
    float* const row = s.row(b.index, r);
    float* const sums = s.sums + int64_t(r) * kLanes;
    Vec most[kTileVecs];
#pragma GCC unroll 4
    for (int c = 0; c < kTileVecs; ++c) most[c] = splat(-INFINITY);
    for (int i = 0; i < b.width; i += kPanel) {
#pragma GCC unroll 4
      for (int c = 0; c < kTileVecs; ++c) most[c] = max(load(row + i + c * kLanes), most[c]);
    }
#pragma GCC unroll 4
    for (int c = 1; c < kTileVecs; ++c) most[0] = max(most[c], most[0]);
    const float before = s.most[r], now = larger(before, reduceMax(most[0]));
    s.factorsOf(b.index)[r] = s.most[r] = now;
    if (now == -INFINITY) {  // nothing seen yet
      fill(row, b.width, 0);
      continue;
    }
    const Vec shift = splat(now);
    Vec sum = zero();
    for (int i = 0; i < b.width; i += kLanes) {
      const Vec e = exp(sub(load(row + i), shift));
      store(row + i, e);
      sum = add(sum, e);
    }
    store(sums, mulAdd(load(sums), splat(now == before ? 1.0f : expOf(before - now)), sum));
  }
}

// Scores become probabilities by the rows' lse. Above 88, which a given lse alone leads to, they are infinite.
void weighByLse(const Strip& s, const Block& b) {
  const Vec highest = splat(88.0f);
  for (int r = 0; r < s.rows; ++r) {
    float* const row = s.row(b.index, r);
    s.factorsOf(b.index)[r] = 1;
    if (s.lse[r] == -INFINITY) {
      fill(row, b.width, 0);
      continue;
    }
    const Vec shift = splat(s.lse[r]);
    for (int i = 0; i < b.width; i += kLanes) {
      const Vec x = sub(load(row + i), shift);
      store(row + i, whereLess(highest, x, splat(INFINITY), exp(x)));
    }
  }
}

// lse of all rows, once all blocks have been weighed.
void findLse(const Strip& s) {
  for (int first = 0; first < s.rows; first += kLanes) {
    Vec sums[kLanes];
    for (int i = 0; i < kLanes; ++i) sums[i] = load(s.sums + int64_t(first + i) * kLanes);
    store(s.lse + first, reduceAddEach(sums));
  }
  for (int r = 0; r < s.rows; ++r) {
    s.lse[r] = s.most[r] == -INFINITY ? -INFINITY : s.most[r] + __builtin_logf(s.lse[r]);
  }
}

// What weights of a block, relative to the largest score of then, have to be multiplied by.
void findFactors(const Strip& s, int block) {
  float* const factors = s.factorsOf(block);
  const Vec none = splat(-INFINITY);
  for (int first = 0; first < s.rows; first += kLanes) {
    const Vec most = load(factors + first);
    const Vec all = whereEqual(most, none, zero(), exp(sub(most, load(s.lse + first))));
    if (first + kLanes <= s.rows) {
      store(factors + first, all);
    } else {
      float rest[kLanes];
      store(rest, all);
      for (int r = first; r < s.rows; ++r) factors[r] = rest[r - first];
    }
  }
}

// column[i] += the probabilities of `Rows` rows from r on, one after the other: their memory is read in order.
template <int Rows>
SIMD void addRows(const Strip& s, const Block& b, int r, float* column) {
  const float* row[Rows];
  Vec factor[Rows];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
    row[i] = s.row(b.index, r + i);
    factor[i] = splat(s.factorsOf(b.index)[r + i]);
  }
  for (int at = 0; at < b.width; at += kLanes) {
    Vec sum = load(column + at);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) sum = mulAdd(load(row[i] + at), factor[i], sum);
    store(column + at, sum);
  }
}

// column[i] = sum over rows [from, to) of their probabilities.
SIMD void sumColumns(const Strip& s, const Block& b, int from, int to, float* column) {
  fill(column, b.width, 0);
  for (; from + 4 <= to; from += 4) addRows<4>(s, b, from, column);
  for (; from < to; ++from) addRows<1>(s, b, from, column);
}

// The sums of a head's queries in blocks of queries, and of their keys in blocks of keys.
void addColumns(const Strip& s, const Block& b, int head) {
  const StatsProblem& p = *s.p;
  float* const to = s.item->columns ? s.item->columns + head * s.item->headStride + b.begin : nullptr;
  for (int from = 0; from < s.queries;) {
    const Token query = s.first + from;
    const int end =
        !p.blockSum ? s.queries : int(smaller<int64_t>(s.queries, from + p.blockQueries - query % p.blockQueries));
    sumColumns(s, b, head * s.queries + from, head * s.queries + end, s.column);
    from = end;
    if (to) {
      for (int i = 0; i < b.n; ++i) to[i] += s.column[i];
    }
    if (!p.blockSum) continue;
    const int64_t queryHead = s.item->batch * p.queryHeads + s.item->kvHead * s.shape.heads + head;
    float* const blocks = p.blockSum + (queryHead * p.queryBlocks() + query / p.blockQueries) * p.keyBlocks();
    for (int i = 0; i < b.n;) {
      const Token block = (b.begin + i) / p.blockKeys;
      const int last = int(smaller<int64_t>(b.n, (int64_t(block) + 1) * p.blockKeys - b.begin));
      float sum = 0;
      for (; i < last; ++i) sum += s.column[i];
      blocks[block] += sum;
    }
  }
}

// Diagonals are summed from the farthest to the nearest: the key's token plus how far the group's last query is behind.
void addDiagonals(const Strip& s, const Block& b) {
  const float* const factors = s.factorsOf(b.index);
  for (int r = 0; r < s.rows; ++r) {
    const float* row = s.row(b.index, r);
    const Vec factor = splat(factors[r]);
    float* const to =
        s.diagonal + r / s.queries * s.diagonalFloats() + b.begin + (s.item->queries.end - 1 - s.queryOf(r));
    for (int i = 0; i < b.width; i += kLanes) store(to + i, mulAdd(load(row + i), factor, load(to + i)));
  }
}

void raiseMaxima(const Strip& s, const Block& b) {
  fill(s.column, b.width, 0);
  for (int r = 0; r < s.rows; ++r) {
    const float* row = s.row(b.index, r);
    const Vec factor = splat(s.factorsOf(b.index)[r]);
    for (int i = 0; i < b.width; i += kLanes) {
      store(s.column + i, max(mul(load(row + i), factor), load(s.column + i)));
    }
  }
  float* const to = s.item->maxima + b.begin;
  for (int i = 0; i < b.n; ++i) to[i] = larger(to[i], s.column[i]);
}

// Rows of a matrix of the problem, each times its factor.
void writeRows(const Strip& s, const Block& b, float* matrix, bool hasFactors) {
  for (int r = 0; r < s.rows; ++r) {
    const Vec factor = splat(hasFactors ? s.factorsOf(b.index)[r] : 1.0f);
    const float* row = s.row(b.index, r);
    for (int i = 0; i < b.width; i += kLanes) store(s.column + i, mul(load(row + i), factor));
    __builtin_memcpy(matrix + s.rowOf(r) * s.p->keys + b.begin, s.column, size_t(b.n) * sizeof(float));
  }
}

// Everything that is made of probabilities, a block of them.
void takeBlock(const Strip& s, const Block& b) {
  const StatsProblem& p = *s.p;
  if (s.item->columns || p.blockSum) {
    for (int head = 0; head < s.shape.heads; ++head) addColumns(s, b, head);
  }
  if (s.item->diagonals) addDiagonals(s, b);
  if (s.item->maxima) raiseMaxima(s, b);
  if (p.probs) writeRows(s, b, p.probs, true);
}

// Results that have rows of keys, as if nothing was seen.
void clear(const StatsItem& item, const Strip& s) {
  const StatsProblem& p = *item.problem;
  const Token size = item.queries.size();
  for (int head = 0; head < s.shape.heads; ++head) {
    const int64_t queryHead = item.batch * p.queryHeads + item.kvHead * s.shape.heads + head;
    if (item.columns) fill(item.columns + head * item.headStride, p.keys, 0);
    if (item.diagonals) fill(s.diagonal + head * s.diagonalFloats(), s.diagonalFloats(), 0);
    if (p.blockSum) {
      const Token from = item.queries.begin / p.blockQueries, to = ceilDiv(item.queries.end, p.blockQueries);
      fill(p.blockSum + (queryHead * p.queryBlocks() + from) * p.keyBlocks(), int64_t(to - from) * p.keyBlocks(), 0);
    }
    const int64_t at = (queryHead * p.queries + item.queries.begin) * p.keys;
    if (p.probs) fill(p.probs + at, int64_t(size) * p.keys, 0);
    if (p.scores) fill(p.scores + at, int64_t(size) * p.keys, -INFINITY);
  }
  if (item.maxima) fill(item.maxima, p.keys, 0);
}

// By the distance of a key in front of its query, from the sums that begin with the farthest.
void writeDiagonals(const StatsItem& item, const Strip& s) {
  const StatsProblem& p = *item.problem;
  const Token used = p.keysOf(item.batch), last = item.queries.end - 1 + used - p.queries;
  for (int head = 0; head < s.shape.heads; ++head) {
    const float* from = s.diagonal + head * s.diagonalFloats();
    float* const to = item.diagonals + head * item.headStride;
    for (Token distance = 0; distance < p.keys; ++distance) to[distance] = distance <= last ? from[last - distance] : 0;
  }
}

int64_t scratchFloats(const StatsProblem& p, Token groupQueries) {
  Strip s{StripShape(p, groupQueries)};
  return layOut(p, groupQueries, nullptr, s);
}

// One strip; false when the call is cancelled.
bool runStrip(Strip& s) {
  const StatsProblem& p = *s.p;
  const StatsItem& item = *s.item;
  readQueries(s);
  fill(s.most, s.rows, -INFINITY);
  fill(s.sums, int64_t(s.rows + kLanes) * kLanes, 0);
  for (int r = 0; r < s.rows; ++r) s.topCounts[r] = 0;
  const bool needsProbs = p.needsProbs(), areGiven = needsProbs && p.givenLse;
  for (int r = 0; areGiven && r < s.rows; ++r) s.lse[r] = p.givenLse[s.rowOf(r)];
  const Token end = p.seenBy(item.batch, s.first + s.queries - 1);
  const auto blockAt = [&](Token begin) {
    const int n = int(smaller<Token>(kBlock, end - begin));
    return Block{int(begin / kBlock), begin, n, ceilDiv(n, kPanel) * kPanel};
  };
  for (Token begin = 0; begin < end; begin += kBlock) {
    const Block b = blockAt(begin);
    scoreBlock(s, b.index, begin, b.n);
    if (p.scores) writeRows(s, b, p.scores, false);
    if (p.topIndices) {
      for (int r = 0; r < s.rows; ++r) addTop(s, r, s.row(b.index, r), begin, b.width);
    }
    if (areGiven) {
      weighByLse(s, b);
      takeBlock(s, b);
    } else if (needsProbs) {
      weighBlock(s, b);
    }
    if (!item.pause()) return false;
  }
  if (!needsProbs) return true;
  if (!areGiven) findLse(s);
  for (int r = 0; r < s.rows; ++r) {
    if (p.lse) p.lse[s.rowOf(r)] = s.lse[r];
    if (p.topIndices) writeTop(s, r, s.lse[r]);
  }
  for (Token begin = 0; !areGiven && p.needsSums() && begin < end; begin += kBlock) {
    const Block b = blockAt(begin);
    if (s.shape.isStored) {
      findFactors(s, b.index);
    } else {
      scoreBlock(s, b.index, begin, b.n);
      weighByLse(s, b);
    }
    takeBlock(s, b);
    if (!item.pause()) return false;
  }
  return true;
}

void run(const StatsItem& item, float* scratch) {
  const StatsProblem& p = *item.problem;
  Strip s{StripShape(p, item.groupQueries)};
  layOut(p, item.groupQueries, scratch, s);
  s.item = &item;
  for (int i = 0; i < kBlock; ++i) s.indices[i] = float(i);
  clear(item, s);
  for (Token first = item.queries.begin; first < item.queries.end; first += s.queries) {
    s.first = first;
    s.queries = int(smaller<Token>(s.shape.queries, item.queries.end - first));
    s.rows = s.shape.heads * s.queries;
    if (!runStrip(s)) return;
  }
  if (item.diagonals) writeDiagonals(item, s);
}
