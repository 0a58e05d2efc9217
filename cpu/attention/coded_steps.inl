// Decode on codes where they are: scales go into the queries, or into the scores; into the weights of values. No key is
// written out. Included inside a target's anonymous namespace. Reader: someone who knows decode_steps.inl.
// Idea: KIVI (arXiv 2402.02750): per channel, q . (code * scale + min) is (q * scale) . code + q . min.

// acc[key * RowsPad + row] = query[row] * codes of key, lane by lane, for Keys rows of codes from `row` on; `start` of
// each row of the query is among what is summed.
template <int RowsPad, int Bits, int Keys>
SIMD void addCodeProducts(const uint8_t* row, int64_t rowBytes, const float* query, int ld, const Vec (&start)[RowsPad],
                          BytesToCome& toCome, Vec* acc) {
  constexpr int kFields = 8 / Bits;
  Vec sum[Keys][RowsPad];
#pragma GCC unroll 8
  for (int j = 0; j < Keys; ++j)
#pragma GCC unroll 16
    for (int r = 0; r < RowsPad; ++r) sum[j][r] = start[r];
#pragma GCC unroll 1
  for (int byte = 0; byte < rowBytes; byte += kLanes) {
    toCome.step();
    const float* const q = query + byte / CodeForm::kChunk * CodeForm::kChunk * kFields + byte % CodeForm::kChunk;
#pragma GCC unroll 8
    for (int j = 0; j < Keys; ++j) {
#pragma GCC unroll 4
      for (int f = 0; f < kFields; ++f) {
        const Vec x = loadCodes<Bits>(row + j * rowBytes + byte, f);
#pragma GCC unroll 16
        for (int r = 0; r < RowsPad; ++r) sum[j][r] = mulAdd(x, load(q + r * ld + f * CodeForm::kChunk), sum[j][r]);
      }
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < Keys; ++j)
#pragma GCC unroll 16
    for (int r = 0; r < RowsPad; ++r) acc[j * RowsPad + r] = sum[j][r];
}

// s[key][row] = what finish(key, lanes) makes of query[row] . codes of key, as decodeScores() has it, with `start` of
// each row among what is summed. Keys [first, end) of the piece. `room`: of digits.
template <int RowsPad, int Bits, class Finish>
Vec codedDots(CodedPiece& piece, int first, int end, const float* query, int ld, const Vec (&start)[RowsPad], float* s,
              float* room, Finish&& finish) {
  constexpr int kKeys = kLanes / RowsPad;
  constexpr int kAtOnce = kKeys < 8 ? kKeys : 8;  // so many sums stay in registers
  const int64_t rowBytes = piece.rows.form->rowBytes;
  BytesToCome toCome = piece.toCome;
  Vec blockMax = splat(-INFINITY);
  QueryDigits digits;
  const bool areDigits = RowsPad == 1 && (end - first) % kKeys == 0 && digits.set<Bits>(*piece.rows.form, query, room);
  const Vec unit = splat(digits.unit()), whole = splat(areDigits ? reduceAdd(start[0]) : 0);
  for (int key = first; key < end; key += kKeys) {
    Vec acc[kLanes];
    if (areDigits) {
      digits.products<Bits>(piece.rows.row(key), rowBytes, toCome, acc);
    } else if (key + kKeys <= end) {
#pragma GCC unroll 2
      for (int part = 0; part < kKeys; part += kAtOnce) {
        addCodeProducts<RowsPad, Bits, kAtOnce>(piece.rows.row(key + part), rowBytes, query, ld, start, toCome,
                                                acc + part * RowsPad);
      }
    } else {
      for (int j = 0; j < kKeys; ++j) {
        addCodeProducts<RowsPad, Bits, 1>(piece.rows.row(smaller(key + j, end - 1)), rowBytes, query, ld, start, toCome,
                                          acc + j * RowsPad);
      }
    }
    const Vec sums = reduceAddEach(acc);
    const Vec scores = finish(key, areDigits ? mulAdd(sums, unit, whole) : sums);
    store(s + key * RowsPad, scores);
    blockMax = max(scores, blockMax);
  }
  piece.toCome = toCome;
  return blockMax;
}

// Scores of a piece's keys, per channel: a group of tokens at a time. `room` takes scaled queries.
template <int RowsPad, int Bits>
Vec channelScores(CodedPiece& piece, int n, const float* query, int ld, float* s, float* room) {
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
    const Vec most = codedDots<RowsPad, Bits>(piece, first, end, room, ld, ofMins, s, room + RowsPad * ld,
                                              [](int, Vec dots) { return dots; });
    blockMax = max(most, blockMax);
    first = end;
  }
  return blockMax;
}

// The same per token: one group a key.
template <int RowsPad, int Bits>
Vec tokenScores(CodedPiece& piece, int n, const float* query, int ld, float* s, float* room) {
  const CodedRows& rows = piece.rows;
  const float *const scales = rows.scales + rows.scaleAt(0, 0), *const mins = rows.mins + rows.scaleAt(0, 0);
  float sum[RowsPad];
  Vec none[RowsPad];
  for (int r = 0; r < RowsPad; ++r) {
    none[r] = zero();
    Vec lanes = zero();
    for (int d = 0; d < rows.form->dim; d += kLanes) lanes = add(lanes, load(query + r * ld + d));
    sum[r] = reduceAdd(lanes);
  }
  return codedDots<RowsPad, Bits>(piece, 0, n, query, ld, none, s, room, [&](int key, Vec dots) {
    if (RowsPad == 1 && key + kLanes <= n)
      return mulAdd(dots, load(scales + key), mul(load(mins + key), splat(sum[0])));
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
Vec codedScores(CodedPiece& piece, int n, const float* query, int ld, float* s, float* room) {
  const CodeForm& form = *piece.rows.form;
  constexpr int kAtOnce = kLanes / RowsPad < 8 ? kLanes / RowsPad : 8;
  piece.toCome.spreadOver(ceilDiv(n, kAtOnce) * (form.rowBytes / kLanes));
  Vec blockMax = splat(-INFINITY);
  withCodeBits(form.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    blockMax = form.axis == CodeAxis::channel ? channelScores<RowsPad, kBits>(piece, n, query, ld, s, room)
                                              : tokenScores<RowsPad, kBits>(piece, n, query, ld, s, room);
  });
  return blockMax;
}

// Adds the vectors of Chunks * kLanes bytes from `byte` on of n values to `output`, which has been rescaled. Weights
// are [groups][kDecodeKeys][RowsPad]. The vectors have Groups groups, as many vectors each; 0: each field has its own.
template <int RowsPad, int Rows, int Bits, int Chunks, int Groups>
SIMD void addCodedStrip(const CodedRows& rows, int n, const float* weights, int byte, float* output, int ld,
                        BytesToCome& toCome) {
  constexpr int kFields = 8 / Bits, kOfGroup = kDecodeKeys * RowsPad;
  const CodeForm& form = *rows.form;
  const auto channelOf = [byte](int c, int f) {
    const int at = byte + c * kLanes;
    return (at / CodeForm::kChunk * kFields + f) * CodeForm::kChunk + at % CodeForm::kChunk;
  };
  const float* weight[Groups == 0 ? kFields : 1];
  for (int f = 0; f < (Groups == 0 ? kFields : 1); ++f) weight[f] = weights + channelOf(0, f) / form.group * kOfGroup;
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
    toCome.step();
#pragma GCC unroll 16
    for (int c = 0; c < Chunks; ++c) {
#pragma GCC unroll 4
      for (int f = 0; f < kFields; ++f) {
        const Vec x = loadCodes<Bits>(codes + c * kLanes, f);
        const float* const of = weight[Groups == 0 ? f : 0] + c * Groups / Chunks * kOfGroup + key * RowsPad;
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
void codedValues(CodedPiece& piece, int n, const float* p, const float* rescale, float* output, int ld, float* room) {
  const CodedRows& rows = piece.rows;
  const CodeForm& form = *rows.form;
  weighGroups<RowsPad>(rows, n, p, rescale, output, ld, room);
  withCodeBits(form.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value, kFields = 8 / kBits;
    constexpr int kMostRows = kDecodeAccumulators / kFields, kRows = RowsPad < kMostRows ? RowsPad : kMostRows;
    // Eight vectors hide how long a sum takes; several rows have as many in fewer bytes.
    constexpr int kLong = (RowsPad == 1 ? 8 : kDecodeAccumulators) / (kRows * kFields);
    BytesToCome toCome = piece.toCome;
    if (RowsPad == 1 && addByteValues<kBits>(rows, n, room, output, room + form.groupsOfToken() * kDecodeKeys, toCome))
      return;
    toCome.spreadOver(n * ceilDiv(form.rowBytes, kLong * kLanes) * (RowsPad / kRows));
    for (int r = 0; r < RowsPad; r += kRows) {
      const auto strip = [&](auto chunks, auto groups, int byte) {
        addCodedStrip<RowsPad, kRows, kBits, decltype(chunks)::value, decltype(groups)::value>(
            rows, n, room + r, byte, output + r * ld, ld, toCome);
        return byte + decltype(chunks)::value * kLanes;
      };
      for (int byte = 0; byte < form.rowBytes;) {
        const int groups = groupsOfBytes(form, byte, kLong * kLanes);
        if (groups == 1) {
          byte = strip(std::integral_constant<int, kLong>{}, std::integral_constant<int, 1>{}, byte);
        } else if (kLong >= 2 && groups == 2) {
          byte = strip(std::integral_constant<int, kLong>{}, std::integral_constant<int, (kLong >= 2 ? 2 : 1)>{}, byte);
        } else if (kLong >= 4 && groups == 4) {
          byte = strip(std::integral_constant<int, kLong>{}, std::integral_constant<int, (kLong >= 4 ? 4 : 1)>{}, byte);
        } else {
          byte = strip(std::integral_constant<int, 1>{}, std::integral_constant<int, 0>{}, byte);
        }
      }
    }
  });
}
