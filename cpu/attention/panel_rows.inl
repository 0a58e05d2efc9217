// The ends of the fused loop: a panel's queries are read before its first block, its outputs written after its last.
// Included inside a target's anonymous namespace. Reader: someone who follows a row into a panel and out of it;
// flash_loop.inl has what is done between.

// Requests the queries of a panel: of a grid they are apart, and reading them one panel at a time took 7 % of the time
// of a 7x7 neighborhood.
void prefetchQueries(const TileTask& task, const Panel& panel) {
  const AttentionProblem& p = *task.problem;
  const int64_t bytes = int64_t(p.headDim) * sizeOf(p.dtype);
  for (int i = 0; i < panel.rows.count; ++i) {
    const int64_t at = p.query.offset(task.sequence.batch, task.sequence.queries.begin + panel.rows.token[i],
                                      p.queryHeadOf(panel.rows.head[i]));
    const char* row = static_cast<const char*>(elementAt(p.query.data, p.dtype, at));
    for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(row + b);
  }
}

// Reads the queries of a panel whose rows are known.
void setUpPanel(const TileTask& task, const TileScratch& s, int index, Panel& panel) {
  const AttentionProblem& p = *task.problem;
  panel.query = s.queries + int64_t(index) * paddedDim(p.headDim) * kPanel;
  panel.output = s.outputs + int64_t(index) * paddedDim(p.valueDim) * kPanel;
  const bool inPlace = isVectorRow(p.dtype, p.query.dim, p.headDim);
  const int ld = paddedDim(p.headDim);
  const float* rows[kPanel];
  for (int i = 0; i < kPanel; ++i) {
    // Lanes past the last query repeat it; their results are dropped.
    float* buffer = s.rowBuffer + i * ld;
    const int64_t at = p.query.offset(task.sequence.batch, task.sequence.queries.begin + panel.rows.token[i],
                                      p.queryHeadOf(panel.rows.head[i]));
    const void* from = elementAt(p.query.data, p.dtype, at);
    rows[i] = inPlace ? static_cast<const float*>(from) : buffer;
    if (inPlace) continue;
    readRow(from, p.dtype, p.query.dim, p.headDim, buffer);
    for (int d = p.headDim; d < ld; ++d) buffer[d] = 0;
  }
  rowsToLanes(rows, p.headDim, scaleOfQueries(p.scale), panel.query);
  if (p.cosine.isUsed) {
    float factors[kPanel];
    for (int lane = 0; lane < kPanel; ++lane) factors[lane] = lengthFactorOf(rows[lane], p.headDim);
    for (int d = 0; d < p.headDim; ++d) {
      float* const query = panel.query + d * kPanel;
      for (int c = 0; c < kPanel; c += kLanes) store(query + c, mul(load(query + c), load(factors + c)));
    }
  }
  __builtin_memset(panel.output, 0, sizeof(float) * kPanel * paddedDim(p.valueDim));
  for (int lane = 0; lane < kPanel; ++lane) {
    panel.max[lane] = -INFINITY;
    panel.sum[lane] = 0;
  }
}

// out = O / sum and lse.
void finishPanel(const TileTask& task, const TileScratch& s, Panel& panel) {
  const AttentionProblem& p = *task.problem;
  const Token firstQuery = task.sequence.queries.begin;
  float factor[kPanel];
  for (int lane = 0; lane < kPanel; ++lane) {
    const int32_t head = panel.rows.head[lane];
    const OutputRow row = outputRow(task.sequence, panel.rows.token[lane], head);
    SoftmaxState state{panel.max[lane], panel.sum[lane]};
    factor[lane] = finishRow(p, state, row);
    for (int d = 0; p.gate.closes(row) && d < p.valueDim; ++d) panel.output[d * kPanel + lane] = 0;
    if (p.lse && lane < panel.rows.count) *p.lseAt(row.batch, row.token, head) = state.lse();
  }
  const bool inPlace = isVectorRow(p.dtype, p.out.dim, p.valueDim);
  const int ld = paddedDim(p.valueDim);
  float* rows[kPanel];
  void* to[kPanel];
  for (int lane = 0; lane < kPanel; ++lane) {
    const int64_t at = p.out.offset(task.sequence.batch, firstQuery + panel.rows.token[lane], panel.rows.head[lane]);
    to[lane] = const_cast<void*>(elementAt(p.out.data, p.dtype, at));
    const bool isReal = lane < panel.rows.count;
    rows[lane] = inPlace && isReal ? static_cast<float*>(to[lane]) : s.rowBuffer + lane * ld;
  }
  lanesToRows(panel.output, factor, p.valueDim, rows);
  if (inPlace) return;
  for (int lane = 0; lane < panel.rows.count; ++lane) {
    writeRow(rows[lane], p.valueDim, p.dtype, p.out.dim, to[lane]);
  }
}
