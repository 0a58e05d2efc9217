// Everything that happens to a score between the two products: softcap, the pattern's mask, the score rules of core.
// Included inside a target's anonymous namespace. Reader: someone who follows a score; a new rule goes to core/score.
//
// Hidden keys are selected away, never multiplied by zero: the table below holds -inf for them, and a score whose table
// entry is -inf becomes -inf whatever it was, so NaN in keys that a query does not see stays out of its row.

// Rows that share one list of keys, one per lane: a panel of the fused loop or the query heads of a decode step.
// `width` lanes are computed; lanes past `count` repeat the last row and are never written out.
template <int Width>
struct QueryRows {
  static constexpr int kWidth = Width;
  int count = 0;
  Token token[Width];  // index in the sequence
  int32_t head[Width];  // output head
  Token place[kMaxRank][Width];  // grids: place in the dilation group
  Token offset = 0;  // position of query 0 among the keys
  RuleRows<Width> rules;

  // Rows [first, first + n) of the map.
  void set(const AttentionProblem& p, const Sequence& s, const TileMap& map, int64_t first, int n) {
    count = n;
    for (int i = 0; i < Width; ++i) {
      const TileMap::Row row = map.at(first + smaller(i, n - 1));
      token[i] = row.token;
      head[i] = row.head;
    }
    setRules(p, s, 0);
  }
  // What the score rules know of the rows, once token, head and place on the `rank` axes of a grid are known.
  void setRules(const AttentionProblem& p, const Sequence& s, int rank) {
    offset = offsetOf(p.window, s.queries.size(), s.keys.size());
    if (!p.rules.areAny()) return;
    for (int i = 0; i < Width; ++i) {
      ScoreQuery query{s.batch, s.keyBatch, head[i], s.queries.begin + token[i], s.keys.begin, {}};
      for (int a = 0; a < rank; ++a) query.place[a + kMaxRank - rank] = place[a][i];
      rules.set(i, p.rules, query);
    }
  }
};

// The token masks of a run for the queries of one block, of which the first is given; null where the run has none.
struct TokenMasks {
  const uint8_t* first = nullptr;
  int64_t perQuery = 0;  // from query to query
};
template <class Pattern>
TokenMasks tokenMasks(const Pattern& pattern, const KeyRun& run, Token firstQuery) {
  const uint8_t* first = tokenMask(pattern, run, firstQuery);
  if (!first) return {};
  return {first, tokenMask(pattern, run, 1) - tokenMask(pattern, run, 0)};
}

// A run of keys that rows of queries meet, and what hides some of them.
struct MaskedRun {
  KeyRun keys;
  const float* ends;  // [2][width]: each query sees places [begin, end) of the run's, counted from 0; null: all
  TokenMasks masks;  // from the first row's query on
};

ScoreKey keyAt(const KeyRun& run, Token place) { return {run.token(place), {run.at[0], run.at[1], place}}; }

// Adds a rule whose values exist for every pair of row and key, or begins the table with it. Blocks of kLanes rows by
// kLanes keys are transposed in registers; rows that all lanes share are broadcast.
template <int Width, class Rule, class Element>
void addBlocks(const Rule& rule, const int64_t (&first)[Width], int64_t stride, int n, const Element* elements,
               bool isFirst, float* table) {
  bool isShared = true;
  for (int i = 1; i < Width; ++i) isShared &= first[i] == first[0];
  for (int i = 0; i < n; i += kLanes) {
    const int m = smaller(kLanes, n - i);
    const auto addendsOf = [&](int64_t at) {
      if (stride == 1 && m == kLanes) return rule.addend(Lanes(loadElements(elements + at + i)));
      float values[kLanes] = {};
      for (int j = 0; j < m; ++j) values[j] = toFloat(elements[at + (i + j) * stride]);
      return rule.addend(Lanes(values));
    };
    const auto add = [&](float* t, Lanes addend) {
      store(t, isFirst ? addend.v : addUnlessHidden(Lanes(t), addend).v);
    };
    if (isShared) {
      float addends[kLanes];
      store(addends, addendsOf(first[0]).v);
      for (int j = 0; j < m; ++j)
        for (int lane = 0; lane < Width; lane += kLanes) add(table + (i + j) * Width + lane, Lanes(addends[j]));
      continue;
    }
    for (int lane = 0; lane < Width; lane += kLanes) {
      Vec block[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) block[r] = addendsOf(first[lane + r]).v;
      transpose(block);
      float* t = table + i * Width + lane;
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) {
        if (j < m) add(t + j * Width, Lanes(block[j]));
      }
    }
  }
}

// The same for rows that fill less than a vector: it holds several keys.
template <int Width, class Rule, class Read>
void addPacked(const Rule& rule, const int64_t (&first)[Width], int64_t stride, int n, Read&& read, bool isFirst,
               float* table) {
  constexpr int kKeys = kLanes / Width;
  for (int key = 0; key < n; key += kKeys) {
    float values[kLanes] = {};
    for (int j = 0; j < smaller(kKeys, n - key); ++j)
      for (int r = 0; r < Width; ++r) values[j * Width + r] = read(first[r] + (key + j) * stride);
    float* t = table + key * Width;
    const Lanes addend = rule.addend(Lanes(values));
    store(t, isFirst ? addend.v : addUnlessHidden(Lanes(t), addend).v);
  }
}

// Adds a rule that may not be read where a key is hidden.
template <int Width, class Rule, class Read>
void addWhereSeen(const Rule& rule, const int64_t (&first)[Width], int64_t stride, int n, Read&& read, float* table) {
  for (int lane = 0; lane < Width; ++lane) {
    for (int i = 0; i < n; ++i) {
      float& t = table[i * Width + lane];
      if (t != kHidden) t = addUnlessHidden(t, rule.addend(read(first[lane] + i * stride)));
    }
  }
}

// Adds a rule that computes. Where rows fill less than a vector it holds several keys.
template <class Rule, class Rows>
void addComputed(const Rule& rule, const float (&row)[Rows::kWidth], const Rows& rows, const KeyRun& keys,
                 float* table) {
  constexpr int kWidth = Rows::kWidth, kVecs = kWidth < kLanes ? 1 : kWidth / kLanes;
  constexpr int kKeys = kVecs * kLanes / kWidth;
  const int n = keys.places.size();
  const Token firstKey = keys.token(keys.places.begin);
  float rowOf[kVecs * kLanes], distance[kVecs * kLanes];  // to the first keys
  for (int i = 0; i < kVecs * kLanes; ++i) {
    const int lane = i % kWidth;
    rowOf[i] = row[lane];
    distance[i] = float(rows.token[lane] + rows.offset - firstKey - i / kWidth * keys.step);
  }
  for (int i = 0; i < n; i += kKeys) {
    const Lanes moved(float(i * keys.step));
#pragma GCC unroll 4
    for (int c = 0; c < kVecs * kLanes; c += kLanes) {
      float* t = table + i * kWidth + c;
      store(t, addUnlessHidden(Lanes(t), rule.addend(Lanes(rowOf + c), Lanes(distance + c) - moved)).v);
    }
  }
}

// Whether a rule can begin a table: every entry is written, and none is read.
template <class Rule>
constexpr bool canBeFirst() {
  if constexpr (Rule::kReads) {
    return Rule::kCoversAll;
  } else {
    return false;
  }
}

// Adds what a rule says of a run of keys to the table, or begins it.
template <class Rule, class Rows>
void addRule(const Rule& rule, const typename Rule::Row (&row)[Rows::kWidth], const Rows& rows, const KeyRun& keys,
             bool isFirst, float* table) {
  if constexpr (Rule::kReads) {
    const ScoreKey key = keyAt(keys, keys.places.begin), next = keyAt(keys, keys.places.begin + 1);
    const int n = keys.places.size();
    int64_t first[Rows::kWidth];
    for (int i = 0; i < Rows::kWidth; ++i) first[i] = rule.at(row[i], key);
    const int64_t stride = rule.at(row[0], next) - first[0];
    rule.withReader([&](const auto& read) {
      if constexpr (!Rule::kCoversAll) {
        addWhereSeen(rule, first, stride, n, read, table);
      } else if constexpr (Rows::kWidth % kLanes == 0) {
        addBlocks(rule, first, stride, n, read.data, isFirst, table);
      } else {
        addPacked(rule, first, stride, n, read, isFirst, table);
      }
    });
  } else {
    addComputed(rule, row, rows, keys, table);
  }
}

// Writes where keys are hidden by the ends of each query and by the token mask; 0 for the others.
template <class Rows>
void beginTable(const Rows& rows, const MaskedRun& run, float* table) {
  constexpr int kWidth = Rows::kWidth;
  const int n = run.keys.places.size();
  for (int i = 0; i < n; ++i) {
    for (int lane = 0; lane < kWidth; ++lane) {
      const bool isSeen = !run.ends || (run.ends[lane] <= i && i < run.ends[kWidth + lane]);
      table[i * kWidth + lane] = isSeen ? 0 : kHidden;
    }
  }
  if (!run.masks.first) return;
  for (int lane = 0; lane < kWidth; ++lane) {
    const uint8_t* mask = run.masks.first + int64_t(rows.token[lane] - rows.token[0]) * run.masks.perQuery;
    for (int i = 0; i < n; ++i) {
      if (!mask[i]) table[i * kWidth + lane] = kHidden;
    }
  }
}

// Fills the table for a run of keys: what is added to each score, -inf where the key is hidden.
template <class Rows>
void fillTable(const AttentionProblem& p, const Rows& rows, const MaskedRun& run, float* table) {
  bool isBegun = run.ends || run.masks.first || !p.rules.areAny();
  if (isBegun) beginTable(rows, run, table);
  rows.rules.forEach(p.rules, [&](const auto& rule, const auto& row) {
    if (!isBegun && !canBeFirst<std::decay_t<decltype(rule)>>()) {
      beginTable(rows, run, table);
      isBegun = true;
    }
    addRule(rule, row, rows, run.keys, !isBegun, table);
    isBegun = true;
  });
}

// scores[i] (vectors) = scale(scores[i]) + table[i], hidden where the table says so; table may be null.
// `n` counts vectors; blockMax[c] collects the maximum of vectors c, c + Cycle, c + 2 Cycle, ... Returns whether the
// table hides any.
template <int Cycle>
bool modifyScores(float* scores, const float* table, int n, const ScoreScale& scale, Vec (&blockMax)[Cycle]) {
  const Vec factor = splat(scale.factor), inCap = splat(scale.inCap), hidden = splat(kHidden), one = splat(1);
  Vec hides = zero();
  for (int i = 0; i < n; i += Cycle) {
#pragma GCC unroll 4
    for (int c = 0; c < Cycle; ++c) {
      float* p = scores + (i + c) * kLanes;
      Vec s = load(p);
      if (scale.hasCap()) s = tanh(mul(s, inCap));
      if (!scale.isNone()) s = mul(s, factor);
      if (table) {
        const Vec addend = load(table + (i + c) * kLanes);
        s = addUnlessHidden(Lanes(addend), Lanes(s)).v;
        hides = whereEqual(addend, hidden, one, hides);
      }
      store(p, s);
      blockMax[c] = max(s, blockMax[c]);
    }
  }
  return reduceMax(hides) > 0;
}

// Hides what is outside [begin, end) of each query, keys counted from `first`: the common mask, without a table.
template <int Rows>
SIMD void hideOutside(RegisterTile<Rows>& tile, const float* ends, float first) {
  const Vec hidden = splat(kHidden);
#pragma GCC unroll 4
  for (int c = 0; c < kTileVecs; ++c) {
    const Vec begin = load(ends + c * kLanes), end = load(ends + kPanel + c * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const Vec key = splat(first + float(r));
      tile.acc[r][c] = whereLess(key, begin, hidden, whereLess(key, end, tile.acc[r][c], hidden));
    }
  }
}
