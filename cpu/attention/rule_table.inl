// What the score rules of core add to scores: a table for any of them together, or the scores at once for a single one.
// Included inside a target's anonymous namespace. Reader: someone who follows a bias or a mask; a new rule goes to
// core/score. The table holds -inf where a key is hidden.

ScoreKey keyAt(const KeyRun& run, Token place) { return {run.token(place), {run.at[0], run.at[1], place}}; }

// Where the values of the first of a run of keys are, row by row. Returns how far those of the next key are from there.
template <int Width, class Rule>
int64_t findValues(const Rule& rule, const typename Rule::Row (&row)[Width], const KeyRun& keys,
                   int64_t (&first)[Width]) {
  const ScoreKey key = keyAt(keys, keys.places.begin), next = keyAt(keys, keys.places.begin + 1);
  for (int i = 0; i < Width; ++i) first[i] = rule.at(row[i], key);
  return rule.at(row[0], next) - first[0];
}

template <int Width>
bool areAlike(const int64_t (&first)[Width]) {
  for (int i = 1; i < Width; ++i) {
    if (first[i] != first[0]) return false;
  }
  return true;
}

// What a rule adds for up to a vector of keys of one row, whose values are at equal distances.
template <class Rule, class Element>
SIMD Lanes addendsOf(const Rule& rule, const Element* elements, int64_t stride, int n) {
  if (stride == 1 && n == kLanes) return rule.addend(Lanes(loadElements(elements)));
  float values[kLanes] = {};
  for (int j = 0; j < n; ++j) values[j] = toFloat(elements[j * stride]);
  return rule.addend(Lanes(values));
}

// Calls put(first key, keys, first row, block) with what a rule adds, whose values exist for every pair of row and key:
// vector j of a block is that of key j for kLanes rows. They are transposed in registers; rows that all lanes share are
// broadcast.
template <int Width, class Rule, class Element, class Put>
SIMD void forEachBlock(const Rule& rule, const int64_t (&first)[Width], int64_t stride, int n, const Element* elements,
                       Put&& put) {
  const bool isShared = areAlike(first);
  for (int i = 0; i < n; i += kLanes, elements += kLanes * stride) {
    const int m = smaller(kLanes, n - i);
    if (isShared) {
      float addends[kLanes];
      store(addends, addendsOf(rule, elements + first[0], stride, m).v);
      Vec block[kLanes];
#pragma GCC unroll 16
      for (int j = 0; j < kLanes; ++j) block[j] = splat(addends[j]);
      for (int row = 0; row < Width; row += kLanes) put(i, m, row, block);
      continue;
    }
    for (int row = 0; row < Width; row += kLanes) {
      Vec block[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) block[r] = addendsOf(rule, elements + first[row + r], stride, m).v;
      transpose(block);
      put(i, m, row, block);
    }
  }
}

// Adds such a rule to the table, or begins it.
template <int Width, class Rule, class Element>
void addBlocks(const Rule& rule, const int64_t (&first)[Width], int64_t stride, int n, const Element* elements,
               bool isFirst, float* table) {
  forEachBlock(rule, first, stride, n, elements, [&](int key, int keys, int row, const Vec(&block)[kLanes]) {
    float* t = table + key * Width + row;
#pragma GCC unroll 16
    for (int j = 0; j < kLanes; ++j, t += Width) {
      if (j < keys) store(t, isFirst ? block[j] : addUnlessHidden(Lanes(t), Lanes(block[j])).v);
    }
  });
}

// The same for rows that fill less than a vector: it holds several keys. What begins the table is written into it: a
// vector of numbers that were just written one by one is slow to read.
template <int Width, class Rule, class Element>
void addPacked(const Rule& rule, const int64_t (&first)[Width], int64_t stride, int n, const Element* elements,
               bool isFirst, float* table) {
  const bool isShared = areAlike(first);
  for (int key = 0; key < n; key += kLanes, elements += kLanes * stride, table += kLanes * Width) {
    const int m = smaller(kLanes, n - key);
    float row[kLanes], packed[kLanes * Width];
    float* const to = isFirst ? table : packed;
    for (int r = 0; r < (isShared ? 1 : Width); ++r) {
      store(row, addendsOf(rule, elements + first[r], stride, m).v);
      for (int j = 0; j < kLanes; ++j) {
        if (!isShared) to[j * Width + r] = row[j];
        for (int every = 0; isShared && every < Width; ++every) to[j * Width + every] = row[j];
      }
    }
    for (int i = 0; !isFirst && i < m * Width; i += kLanes)
      store(table + i, addUnlessHidden(Lanes(table + i), Lanes(packed + i)).v);
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
  for (int i = 0; i < kVecs * kLanes; ++i) rowOf[i] = row[i % kWidth];
  const auto setDistances = [&](auto&& positionOf) {
    for (int i = 0; i < kVecs * kLanes; ++i) distance[i] = float(rows.position[i % kWidth] - positionOf(i / kWidth));
  };
  if (!rows.keyPositions) setDistances([&](int key) { return firstKey + key * keys.step; });
  for (int i = 0; i < n; i += kKeys) {
    const Lanes moved(rows.keyPositions ? 0 : float(i * keys.step));
    if (rows.keyPositions) {
      setDistances([&](int key) { return rows.keyPositions[firstKey + smaller(i + key, n - 1) * keys.step]; });
    }
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
    const int n = keys.places.size();
    int64_t first[Rows::kWidth];
    const int64_t stride = findValues(rule, row, keys, first);
    rule.withReader([&](const auto& read) {
      if constexpr (!Rule::kCoversAll) {
        addWhereSeen(rule, first, stride, n, read, table);
      } else if constexpr (Rows::kWidth % kLanes == 0) {
        addBlocks(rule, first, stride, n, read.data, isFirst, table);
      } else {
        addPacked(rule, first, stride, n, read.data, isFirst, table);
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
      const int place = run.skipped + i;
      const bool isSeen = !run.ends || (run.ends[lane] <= place && place < run.ends[kWidth + lane]);
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

// Whether modifyByRule() does for a run of keys what a table would.
bool canModifyByRule(const ScoreRules& rules, const MaskedRun& run, const ScoreScale& scale) {
  int rulesInUse = 0, read = 0;
  rules.forEach([&](const auto& rule) {
    rulesInUse += rule.isPresent();
    read += rule.isPresent() && canBeFirst<std::decay_t<decltype(rule)>>();
  });
  return rulesInUse == 1 && read == 1 && !run.ends && !run.masks.first && !scale.hasCap();
}

// scores = scale(scores) + addends of the run and of the one rule there is, transposed onto them: a table between them
// takes as long as all the rest. Otherwise as modifyScores().
template <class Rows, int Cycle>
bool modifyByRule(float* scores, const ScoreRules& rules, const Rows& rows, const MaskedRun& run,
                  const ScoreScale& scale, Vec (&blockMax)[Cycle]) {
  constexpr int kWidth = Rows::kWidth;
  static_assert(kWidth == Cycle * kLanes);
  const KeyRun& keys = run.keys;
  ScoreChange change(scale, run.addend);
  rows.rules.forEach(rules, [&](const auto& rule, const auto& row) {
    if constexpr (canBeFirst<std::decay_t<decltype(rule)>>()) {
      int64_t first[kWidth];
      const int64_t stride = findValues(rule, row, keys, first);
      rule.withReader([&](const auto& read) {
        forEachBlock(rule, first, stride, keys.places.size(), read.data,
                     [&](int key, int n, int lane, const Vec(&block)[kLanes]) {
                       float* p = scores + key * kWidth + lane;
                       Vec most = blockMax[lane / kLanes];
                       ScoreChange blockChange = change;
#pragma GCC unroll 16
                       for (int j = 0; j < kLanes; ++j, p += kWidth) {
                         if (j < n) {
                           const Vec s = blockChange.added(blockChange.scaled(load(p)), block[j]);
                           store(p, s);
                           most = max(s, most);
                         }
                       }
                       blockMax[lane / kLanes] = most;
                       change = blockChange;
                     });
      });
    }
  });
  return change.hidesAny();
}
