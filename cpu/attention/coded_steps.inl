// Decode on codes where they are: scales go into the queries, or into the scores; into the weights of values. No key is
// written out. Included inside a target's anonymous namespace. Reader: someone who knows decode_steps.inl.
// Idea: KIVI (arXiv 2402.02750): per channel, q . (code * scale + min) is (q * scale) . code + q . min.

// Rows of codes that are wanted soon: those behind the piece's last one are the first of the next piece.
struct CodesToCome {
  const uint8_t *here = nullptr, *next = nullptr;  // null: none
  int count = 0;  // of this piece
  int64_t bytes = 0;  // of a row; 0: have been requested

  // Rows from this one on.
  SIMD const uint8_t* from(int row) const {
    if (bytes == 0) return nullptr;
    return row < count ? here + row * bytes : next ? next + (row - count) * bytes : nullptr;
  }
};

// Keys or values of a piece that have codes, and which rows are requested while keys are read.
struct CodedPiece {
  CodedRows rows;
  CodesToCome keys, values;
  int ahead = 0;  // of keys

  void end() { keys.bytes = values.bytes = 0; }
};

// Requests the scales and minima of n rows. They are a few lines in places of their own, which nothing else foresees.
void requestScales(const CodedRows& rows, int n) {
  const CodeForm& form = *rows.form;
  const auto request = [&](Token row, int channel, int count) {
    const int64_t at = rows.scaleAt(row, channel);
    prefetchRow(rows.scales + at, count * int64_t(sizeof(float)));
    prefetchRow(rows.mins + at, count * int64_t(sizeof(float)));
  };
  if (form.axis == CodeAxis::channel) {
    for (int row = 0; row < n; row += form.group) request(row, 0, form.dim);
  } else {
    for (int d = 0; d < form.dim; d += form.group) request(0, d, n);
  }
}

// Requests rows bit by bit: as many bytes in each of so many steps.
class SpreadCodes {
 public:
  SpreadCodes(const uint8_t* at, int64_t bytes, int steps)
      : at_(at), end_(at + bytes), perStep_(ceilDiv<int64_t>(ceilDiv<int64_t>(bytes, kLine), steps) * kLine) {
    if (!at) end_ = at;
  }
  SIMD void step() {
    if (at_ >= end_) return;
    for (int64_t i = 0; i < perStep_; i += kLine) __builtin_prefetch(at_ + i);
    at_ += perStep_;
  }

 private:
  static constexpr int64_t kLine = 64;
  const uint8_t *at_, *end_;
  int64_t perStep_;
};

// s[key][row] = what finish(key, lanes) makes of query[row] . codes of key, as decodeScores() has it, with `start` of
// each row among what is summed. Keys [first, end) of the piece.
template <int RowsPad, int Bits, class Finish>
Vec codedDots(const CodedPiece& piece, int first, int end, const float* query, int ld, const Vec (&start)[RowsPad],
              float* s, Finish&& finish) {
  constexpr int kKeys = kLanes / RowsPad, kFields = 8 / Bits;
  // So many keys at a time, so that where their rows are stays in registers.
  constexpr int kAtOnce = kKeys < 8 ? kKeys : 8;
  const int rowBytes = piece.rows.form->rowBytes, steps = rowBytes / kLanes;
  Vec blockMax = splat(-INFINITY);
  for (int key = first; key < end; key += kKeys) {
    Vec acc[kLanes];
#pragma GCC unroll 2
    for (int part = 0; part < kKeys; part += kAtOnce) {
      const uint8_t* row[kAtOnce];
#pragma GCC unroll 8
      for (int j = 0; j < kAtOnce; ++j) row[j] = piece.rows.row(smaller(key + part + j, end - 1));
      SpreadCodes keys(piece.keys.from(key + part + piece.ahead), kAtOnce * piece.keys.bytes, steps);
      SpreadCodes values(piece.values.from(key + part), kAtOnce * piece.values.bytes, steps);
      Vec sum[kAtOnce][RowsPad];
#pragma GCC unroll 8
      for (int j = 0; j < kAtOnce; ++j)
#pragma GCC unroll 16
        for (int r = 0; r < RowsPad; ++r) sum[j][r] = start[r];
#pragma GCC unroll 1
      for (int byte = 0; byte < rowBytes; byte += kLanes) {
        keys.step();
        values.step();
        const float* const q = query + byte / CodeForm::kChunk * CodeForm::kChunk * kFields + byte % CodeForm::kChunk;
#pragma GCC unroll 8
        for (int j = 0; j < kAtOnce; ++j) {
#pragma GCC unroll 4
          for (int f = 0; f < kFields; ++f) {
            const Vec x = loadCodes<Bits>(row[j] + byte, f);
#pragma GCC unroll 16
            for (int r = 0; r < RowsPad; ++r) sum[j][r] = mulAdd(x, load(q + r * ld + f * CodeForm::kChunk), sum[j][r]);
          }
        }
      }
#pragma GCC unroll 8
      for (int j = 0; j < kAtOnce; ++j)
#pragma GCC unroll 16
        for (int r = 0; r < RowsPad; ++r) acc[(part + j) * RowsPad + r] = sum[j][r];
    }
    const Vec scores = finish(key, reduceAddEach(acc));
    store(s + key * RowsPad, scores);
    blockMax = max(scores, blockMax);
  }
  return blockMax;
}

// Scores of a piece's keys, per channel: a group of tokens at a time. `room` takes scaled queries.
template <int RowsPad, int Bits>
Vec channelScores(const CodedPiece& piece, int n, const float* query, int ld, float* s, float* room) {
  const CodedRows& rows = piece.rows;
  const CodeForm& form = *rows.form;
  Vec blockMax = splat(-INFINITY);
  for (int first = 0; first < n;) {
    const int end = smaller<int>(n, first + form.group - int(rows.first + first) % form.group);
    const float *const scales = rows.scales + rows.scaleAt(first, 0), *const mins = rows.mins + rows.scaleAt(first, 0);
    Vec ofMins[RowsPad];
#pragma GCC unroll 16
    for (int r = 0; r < RowsPad; ++r) ofMins[r] = zero();
    for (int d = 0; d < form.dim; d += kLanes) {
      const Vec scale = load(scales + d), min = load(mins + d);
#pragma GCC unroll 16
      for (int r = 0; r < RowsPad; ++r) {
        const Vec q = load(query + r * ld + d);
        store(room + r * ld + d, mul(q, scale));
        ofMins[r] = mulAdd(q, min, ofMins[r]);
      }
    }
    const Vec most =
        codedDots<RowsPad, Bits>(piece, first, end, room, ld, ofMins, s, [](int, Vec dots) { return dots; });
    blockMax = max(most, blockMax);
    first = end;
  }
  return blockMax;
}

// The same per token: one group a key.
template <int RowsPad, int Bits>
Vec tokenScores(const CodedPiece& piece, int n, const float* query, int ld, float* s) {
  const CodedRows& rows = piece.rows;
  const float *const scales = rows.scales + rows.scaleAt(0, 0), *const mins = rows.mins + rows.scaleAt(0, 0);
  float sum[kLanes] = {};
  Vec none[RowsPad];
  for (int r = 0; r < RowsPad; ++r) {
    none[r] = zero();
    for (int d = 0; d < rows.form->dim; ++d) sum[r] += query[r * ld + d];
  }
  return codedDots<RowsPad, Bits>(piece, 0, n, query, ld, none, s, [&](int key, Vec dots) {
    float scale[kLanes], offset[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      const int of = smaller(key + i / RowsPad, n - 1);
      scale[i] = scales[of];
      offset[i] = mins[of] * sum[i % RowsPad];
    }
    return mulAdd(dots, load(scale), load(offset));
  });
}

// Scores of a piece's n keys: decodeScores() of codes that areVectorCodes(); per token a key is one group.
template <int RowsPad>
Vec codedScores(const CodedPiece& piece, int n, const float* query, int ld, float* s, float* room) {
  Vec blockMax = splat(-INFINITY);
  withCodeBits(piece.rows.form->bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    blockMax = piece.rows.form->axis == CodeAxis::channel ? channelScores<RowsPad, kBits>(piece, n, query, ld, s, room)
                                                          : tokenScores<RowsPad, kBits>(piece, n, query, ld, s);
  });
  return blockMax;
}

// Adds the vectors of Chunks * kLanes bytes from `byte` on of n values to `output`, which has been rescaled. Weights
// are [groups][kDecodeKeys][RowsPad]; OneGroup: all vectors are of one of these.
template <int RowsPad, int Rows, int Bits, int Chunks, bool OneGroup>
SIMD void addCodedStrip(const CodedRows& rows, int n, const float* weights, int byte, float* output, int ld) {
  constexpr int kFields = 8 / Bits;
  const CodeForm& form = *rows.form;
  const auto channelOf = [byte](int c, int f) {
    const int at = byte + c * kLanes;
    return (at / CodeForm::kChunk * kFields + f) * CodeForm::kChunk + at % CodeForm::kChunk;
  };
  const auto weightsOf = [&](int c, int f) { return weights + channelOf(c, f) / form.group * (kDecodeKeys * RowsPad); };
  const float* weight[OneGroup ? 1 : Chunks][OneGroup ? 1 : kFields];
  for (int c = 0; c < (OneGroup ? 1 : Chunks); ++c)
    for (int f = 0; f < (OneGroup ? 1 : kFields); ++f) weight[c][f] = weightsOf(c, f);
  Vec acc[Rows][Chunks][kFields];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 16
    for (int c = 0; c < Chunks; ++c)
#pragma GCC unroll 4
      for (int f = 0; f < kFields; ++f) acc[r][c][f] = load(output + r * ld + channelOf(c, f));
  const uint8_t* codes = rows.row(0) + byte;
  const int rowBytes = form.rowBytes;
#pragma GCC unroll 1
  for (int key = 0; key < n; ++key, codes += rowBytes) {
#pragma GCC unroll 16
    for (int c = 0; c < Chunks; ++c) {
#pragma GCC unroll 4
      for (int f = 0; f < kFields; ++f) {
        const Vec x = loadCodes<Bits>(codes + c * kLanes, f);
        const float* const of = weight[OneGroup ? 0 : c][OneGroup ? 0 : f] + key * RowsPad;
#pragma GCC unroll 16
        for (int r = 0; r < Rows; ++r) acc[r][c][f] = mulAdd(splat(of[r]), x, acc[r][c][f]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 16
    for (int c = 0; c < Chunks; ++c)
#pragma GCC unroll 4
      for (int f = 0; f < kFields; ++f) store(output + r * ld + channelOf(c, f), acc[r][c][f]);
}

// The weights of a group of values: those of the keys times its scales. Returns what its minima add to each row: one
// row in lanes whose sum that is.
template <int RowsPad>
Vec weighGroup(const float* scales, const float* mins, int n, const float* p, float* weights) {
  Vec sum = zero();
  int key = 0;
  if constexpr (RowsPad == 1) {
    for (; key + kLanes <= n; key += kLanes) {
      const Vec of = load(p + key);
      store(weights + key, mul(of, load(scales + key)));
      sum = mulAdd(of, load(mins + key), sum);
    }
  }
  if (key == n) return sum;
  float rest[kLanes] = {};
  for (; key < n; ++key) {
    for (int r = 0; r < RowsPad; ++r) {
      weights[key * RowsPad + r] = p[key * RowsPad + r] * scales[key];
      rest[r] += p[key * RowsPad + r] * mins[key];
    }
  }
  return add(sum, load(rest));
}

// Rescales the output of all rows, adds what the minima of n values make of it, and writes the weights of their groups.
template <int RowsPad>
void weighGroups(const CodedRows& rows, int n, const float* p, const float* rescale, float* output, int ld,
                 float* weights) {
  const CodeForm& form = *rows.form;
  constexpr int kGroups = RowsPad == 1 ? kLanes : 1;  // whose lanes are summed together
  for (int first = 0; first < form.groupsOfToken(); first += kGroups) {
    const int groups = smaller(kGroups, form.groupsOfToken() - first);
    Vec sums[kLanes];
    for (Vec& sum : sums) sum = zero();
    for (int g = 0; g < groups; ++g) {
      const int64_t at = rows.scaleAt(0, (first + g) * form.group);
      float* const to = weights + (first + g) * (kDecodeKeys * RowsPad);
      sums[g] = weighGroup<RowsPad>(rows.scales + at, rows.mins + at, n, p, to);
    }
    float added[kLanes];
    store(added, RowsPad == 1 ? reduceAddEach(sums) : sums[0]);
    for (int g = 0; g < groups; ++g) {
      const int begin = (first + g) * form.group;
      for (int r = 0; r < RowsPad; ++r) {
        const Vec factor = splat(rescale[r]), addend = splat(added[RowsPad == 1 ? g : r]);
        for (int d = begin; d < begin + form.group; d += kLanes)
          store(output + r * ld + d, mulAdd(load(output + r * ld + d), factor, addend));
      }
    }
  }
}

// output[row] = output[row] * rescale[row] + sum over keys of p[key][row] * value of key: decodeValues() of codes that
// areVectorCodes(). `room` takes a weight per group.
template <int RowsPad>
void codedValues(const CodedRows& rows, int n, const float* p, const float* rescale, float* output, int ld,
                 float* room) {
  const CodeForm& form = *rows.form;
  weighGroups<RowsPad>(rows, n, p, rescale, output, ld, room);
  withCodeBits(form.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value, kFields = 8 / kBits;
    constexpr int kMostRows = kDecodeAccumulators / kFields, kRows = RowsPad < kMostRows ? RowsPad : kMostRows;
    // Eight vectors hide how long a sum takes; several rows have as many in fewer bytes.
    constexpr int kLong = (RowsPad == 1 ? 8 : kDecodeAccumulators) / (kRows * kFields),
                  kShort = kLong > 1 ? kLong / 2 : 1;
    const int rowBytes = form.rowBytes;
    for (int r = 0; r < RowsPad; r += kRows) {
      const auto strip = [&](auto chunks, auto oneGroup, int byte) {
        addCodedStrip<RowsPad, kRows, kBits, decltype(chunks)::value, decltype(oneGroup)::value>(
            rows, n, room + r, byte, output + r * ld, ld);
        return byte + decltype(chunks)::value * kLanes;
      };
      const auto isOneGroup = [&](int byte, int bytes) {
        constexpr int kChannels = CodeForm::kChunk * kFields;
        const int begin = byte / CodeForm::kChunk * kChannels;
        const int end = ceilDiv(byte + bytes, int(CodeForm::kChunk)) * kChannels;
        return byte + bytes <= rowBytes && begin / form.group == (end - 1) / form.group;
      };
      for (int byte = 0; byte < rowBytes;) {
        if (isOneGroup(byte, kLong * kLanes)) {
          byte = strip(std::integral_constant<int, kLong>{}, std::true_type{}, byte);
        } else if (kShort < kLong && isOneGroup(byte, kShort * kLanes)) {
          byte = strip(std::integral_constant<int, kShort>{}, std::true_type{}, byte);
        } else {
          byte = strip(std::integral_constant<int, 1>{}, std::false_type{}, byte);
        }
      }
    }
  });
}
