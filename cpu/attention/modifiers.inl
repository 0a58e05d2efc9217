// Everything that happens to a score between the two products: softcap, mask, bias, ALiBi, the pattern's token rule.
// Included inside a target's anonymous namespace. Reader: someone adding a score modifier.
//
// Hidden keys are selected away, never multiplied by zero: the table below holds -inf for them, and a score whose table
// entry is -inf becomes -inf whatever it was, so NaN in keys that a query does not see stays out of its row.

constexpr float kHidden = -INFINITY;

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
  int64_t biasRow[Width], maskRow[Width];  // offsets of key 0 of the sequence
  float slope[Width];  // in log2 units

  bool sharesRow(const int64_t (&row)[Width]) const {
    for (int i = 1; i < Width; ++i)
      if (row[i] != row[0]) return false;
    return true;
  }

  // Rows [first, first + n) of the map.
  void set(const AttentionProblem& p, const Sequence& s, const TileMap& map, int64_t first, int n) {
    count = n;
    for (int i = 0; i < Width; ++i) {
      const TileMap::Row row = map.at(first + smaller(i, n - 1));
      token[i] = row.token;
      head[i] = row.head;
    }
    locate(p, s);
  }
  // Where the score operands of the rows lie, once token and head are known.
  void locate(const AttentionProblem& p, const Sequence& s) {
    offset = offsetOf(p.window, s.queries.size(), s.keys.size());
    for (int i = 0; i < Width; ++i) {
      biasRow[i] = p.bias.data ? p.bias.offset(s.batch, head[i], token[i], 0) : 0;
      maskRow[i] = p.mask.data ? p.mask.offset(s.batch, head[i], token[i], 0) : 0;
      slope[i] = p.slopes ? p.slopes[s.batch * p.slopesBatch + head[i] * p.slopesHead] * kLog2E : 0;
    }
  }
};

// Keys of one row that rows of queries meet, and what hides some of them.
struct MaskedRun {
  KeyRun row;
  const float* ends;  // [2][width]: each query sees places [begin, end) of the run's, counted from 0; null: all
  const uint8_t* mask;  // token mask of the run's first place for query 0 of its block; null: none
};

// table[i][lane] = f(table[i][lane], value of (lane, key i of the row)) for an operand laid out by rows of keys.
// Blocks of kLanes x kLanes are transposed in registers; rows that all lanes share are broadcast.
template <class Rows, class Read, class Apply>
void applyOperand(const Rows& rows, const int64_t (&row)[Rows::kWidth], int64_t tokenStride, const KeyRun& keys,
                  float* table, Read&& read, Apply&& apply) {
  constexpr int kWidth = Rows::kWidth;
  const int n = keys.places.size();
  const int64_t keyStride = tokenStride * keys.step, begin = tokenStride * keys.token(keys.places.begin);
  if constexpr (kWidth % kLanes == 0) {
    const bool isShared = rows.sharesRow(row);
    for (int i = 0; i < n; i += kLanes) {
      const int m = smaller(kLanes, n - i);
      const int64_t first = begin + i * keyStride;
      for (int lane = 0; lane < kWidth; lane += kLanes) {
        float values[kLanes][kLanes] = {};
        Vec block[kLanes];
        for (int r = 0; r < (isShared ? 1 : kLanes); ++r) {
          for (int j = 0; j < m; ++j) values[r][j] = read(row[lane + r] + first + j * keyStride);
        }
        if (!isShared) {
          for (int r = 0; r < kLanes; ++r) block[r] = load(values[r]);
          transpose(block);
        }
        for (int j = 0; j < m; ++j) {
          float* t = table + (i + j) * kWidth + lane;
          store(t, apply(load(t), isShared ? splat(values[0][j]) : block[j]));
        }
      }
    }
  } else {
    for (int i = 0; i < n; ++i) {
      for (int lane = 0; lane < kWidth; ++lane) {
        float lanes[kLanes] = {table[i * kWidth + lane]};
        const Vec value = splat(read(row[lane] + begin + i * keyStride));
        store(lanes, apply(load(lanes), value));
        table[i * kWidth + lane] = lanes[0];
      }
    }
  }
}

// Adds the relative position bias of a grid to the table, for the queries that see the key.
template <class Rows>
void addRelativeBias(const AttentionProblem& p, const Rows& rows, const MaskedRun& run, float* table) {
  constexpr int kWidth = Rows::kWidth;
  const int rank = p.grid.rank, last = rank - 1, n = run.row.places.size();
  for (int lane = 0; lane < kWidth; ++lane) {
    const auto index = [&](int axis, Token place) {
      return (place - rows.place[axis][lane] + p.grid.kernel[axis] - 1) * p.relativeAxis[axis];
    };
    const float* bias = p.relative + rows.head[lane] * p.relativeHead + index(last, run.row.places.begin);
    for (int a = 0; a < last; ++a) bias += index(a, run.row.at[a + kMaxRank - rank]);
    for (int i = 0; i < n; ++i) {
      float& t = table[i * kWidth + lane];
      if (t != kHidden) t += biasToLog2(bias[i * p.relativeAxis[last]]);
    }
  }
}

// Fills the table for a run of keys: what is added to each score in log2 units, -inf where the key is hidden.
template <class Rows>
void fillTable(const AttentionProblem& p, const Rows& rows, const MaskedRun& run, float* table) {
  constexpr int kWidth = Rows::kWidth;
  const int n = run.row.places.size();
  for (int i = 0; i < n; ++i) {
    for (int lane = 0; lane < kWidth; ++lane) {
      const bool isSeen = !run.ends || (run.ends[lane] <= i && i < run.ends[kWidth + lane]);
      table[i * kWidth + lane] = isSeen ? 0 : kHidden;
    }
  }
  if (run.mask) {
    for (int lane = 0; lane < kWidth; ++lane) {
      const uint8_t* mask = run.mask + int64_t(rows.token[lane] % p.blocks.queries) * p.blocks.keys;
      for (int i = 0; i < n; ++i) {
        if (!mask[i]) table[i * kWidth + lane] = kHidden;
      }
    }
  }
  if (p.mask.data) {
    const uint8_t* mask = static_cast<const uint8_t*>(p.mask.data);
    applyOperand(
        rows, rows.maskRow, p.mask.key, run.row, table, [=](int64_t at) { return mask[at] ? 0.0f : kHidden; },
        [](Vec t, Vec m) { return whereEqual(m, splat(kHidden), m, t); });
  }
  if (p.bias.data) {
    withElementType(p.bias.dtype, [&](auto* element) {
      const auto* bias = static_cast<decltype(element)>(p.bias.data);
      applyOperand(
          rows, rows.biasRow, p.bias.key, run.row, table, [=](int64_t at) { return biasToLog2(toFloat(bias[at])); },
          [](Vec t, Vec b) { return whereEqual(t, splat(kHidden), t, add(t, b)); });
    });
  }
  if (p.relative) addRelativeBias(p, rows, run, table);
  if (p.slopes) {
    for (int i = 0; i < n; ++i) {
      const Token key = run.row.token(run.row.places.begin + i);
      float* t = table + i * kWidth;
      for (int lane = 0; lane < kWidth; ++lane) {
        const Token distance = rows.token[lane] + rows.offset - key;
        const float bias = -rows.slope[lane] * float(distance < 0 ? -distance : distance);
        t[lane] = t[lane] == kHidden ? kHidden : t[lane] + bias;
      }
    }
  }
}

// What turns a raw product into a score; the same for every key of a problem.
struct ScoreScale {
  float query;  // multiplies queries as they are read: scale * log2(e), or scale / softcap
  float softcap;  // softcap * log2(e), or 0

  explicit ScoreScale(const AttentionProblem& p)
      : query(p.softcap > 0 ? p.scale / p.softcap : p.scale * kLog2E), softcap(p.softcap * kLog2E) {}
};

// scores[i] (vectors) = softcap(scores[i]) + table[i], hidden where the table says so; table may be null.
// `n` counts vectors; most[c] collects the maximum of vectors c, c + Cycle, c + 2 Cycle, ...
template <int Cycle>
void modifyScores(float* scores, const float* table, int n, float softcap, Vec (&most)[Cycle]) {
  const Vec cap = splat(softcap), hidden = splat(kHidden);
  for (int i = 0; i < n; i += Cycle) {
#pragma GCC unroll 4
    for (int c = 0; c < Cycle; ++c) {
      float* p = scores + (i + c) * kLanes;
      Vec s = load(p);
      if (softcap > 0) s = mul(tanh(s), cap);
      if (table) {
        const Vec t = load(table + (i + c) * kLanes);
        s = whereEqual(t, hidden, t, add(s, t));
      }
      store(p, s);
      most[c] = max(s, most[c]);
    }
  }
}

// Hides what lies outside [begin, end) of each query, keys counted from `first`: the common mask, without a table.
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
