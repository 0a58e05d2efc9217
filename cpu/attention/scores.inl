// Everything that happens to a score between the two products: softcap, the pattern's mask, what score rules add.
// Included inside a target's anonymous namespace. Reader: someone who follows a score; rule_table.inl has what is
// added.
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
  Token position[Width];  // for rules that count distances
  const int32_t* keyPositions;  // the same of keys; null: a key is at its index
  RuleRows<Width> rules;
  ScoreFactor::Row factor[Width];
  LengthFactors::Row lengths[Width], extraLengths[Width];  // of cosine: where the factors of a row's keys are

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
  // What the score rules and the factor know of the rows, once token, head and place on the `rank` axes of a grid are
  // known.
  void setRules(const AttentionProblem& p, const Sequence& s, int rank) {
    keyPositions = p.positions.areGiven() ? p.positions.keysOf(s.batch) : nullptr;
    if (!p.rules.areAny() && !p.hasFactors()) return;
    const Token offset = offsetOf(p.window, s.queries.size(), s.keys.size());
    for (int i = 0; i < Width; ++i) {
      position[i] = p.positions.areGiven() ? p.positions.ofQuery(s.batch, token[i]) : token[i] + offset;
      ScoreQuery query{s.batch, s.keyBatch, head[i], p.kvHeadOf(head[i]), s.queries.begin + token[i], s.keys.begin, {}};
      for (int a = 0; a < rank; ++a) query.place[a + kMaxRank - rank] = place[a][i];
      rules.set(i, p.rules, query);
      if (p.scoreFactor.isPresent()) factor[i] = p.scoreFactor.row(query);
      lengths[i] = p.cosine.rowOfKeys(query);
      extraLengths[i] = p.cosine.rowOfExtras(query);
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
  float addend = 0;  // what the pattern adds to all scores
  int skipped = 0;  // places that the ends count and that are before these keys

  // Its keys [first, first + n).
  MaskedRun part(int first, int n) const {
    const Token begin = keys.places.begin + first;
    const TokenMasks rest{masks.first ? masks.first + first : nullptr, masks.perQuery};
    return {keys.within({begin, begin + n}), ends, rest, addend, skipped + first};
  }
};

// What becomes of a vector of scores, and whether any was hidden.
class ScoreChange {
 public:
  // `all`: what is added to each.
  SIMD explicit ScoreChange(const ScoreScale& scale, float all = 0)
      : factor_(splat(scale.factor)), inCap_(splat(scale.inCap)), all_(splat(all)), hasCap_(scale.hasCap()) {}

  SIMD Vec capped(Vec s) const { return hasCap_ ? tanh(mul(s, inCap_)) : s; }
  SIMD Vec scaled(Vec s) const { return mulAdd(s, factor_, all_); }
  SIMD Vec added(Vec s, Vec addend) {
    hides_ = whereEqual(addend, splat(kHidden), splat(1), hides_);
    return addUnlessHidden(Lanes(addend), Lanes(s)).v;
  }
  SIMD bool hidesAny() const { return reduceMax(hides_) > 0; }

 private:
  Vec factor_, inCap_, all_, hides_ = zero();
  bool hasCap_;
};

// scores[i] (vectors) = scale(scores[i]) + all + table[i], hidden where the table says so; table may be null.
// `n` counts vectors; blockMax[c] collects the maximum of vectors c, c + Cycle, c + 2 Cycle, ... Returns whether the
// table hides any.
template <int Cycle>
bool modifyScores(float* scores, const float* table, int n, const ScoreScale& scale, float all,
                  Vec (&blockMax)[Cycle]) {
  ScoreChange change(scale, all);
  for (int i = 0; i < n; i += Cycle) {
#pragma GCC unroll 4
    for (int c = 0; c < Cycle; ++c) {
      float* p = scores + (i + c) * kLanes;
      Vec s = change.scaled(change.capped(load(p)));
      if (table) s = change.added(s, load(table + (i + c) * kLanes));
      store(p, s);
      blockMax[c] = max(s, blockMax[c]);
    }
  }
  return change.hidesAny();
}

// Calls visit(weigh), and weigh(scores) makes weights of a vector of scores: of an activation other than softmax.
template <class Visit>
void withWeights(const Activation& activation, Token keys, Visit&& visit) {
  if (activation.kind == ActivationKind::relu) {
    const Lanes share(Activation::shareOf(keys));
    return visit([share](Vec s) { return reluOf(Lanes(s), share).v; });
  }
  const Vec bias = splat(activation.biasFor(keys));
  visit([bias](Vec s) {
    return sigmoidOf(
               Lanes(add(s, bias)), [](Lanes x) { return Lanes(exp(x.v)); },
               [](Lanes a, Lanes b) { return Lanes(divNear(a.v, b.v)); })
        .v;
  });
}

// Adds a table as above to scores that nothing else changes.
template <int Rows>
SIMD void addTable(RegisterTile<Rows>& tile, const float* table) {
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < kTileVecs; ++c) {
      const Lanes addend(table + r * kPanel + c * kLanes);
      tile.acc[r][c] = addUnlessHidden(addend, Lanes(tile.acc[r][c])).v;
    }
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
