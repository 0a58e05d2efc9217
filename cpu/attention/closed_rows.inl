// Rows that the gate closes: what consists of nothing else is not computed. Included inside a target's anonymous
// namespace. Reader: someone who asks why a tile, a panel or a KV head of decode is left out; core/op/gate.h.

OutputRow outputRow(const Sequence& sequence, Token token, int32_t head) {
  return {sequence.batch, sequence.queries.begin + token, head};
}

// Whether nothing of a panel needs to be computed.
bool areClosed(const TileTask& task, const QueryRows<kPanel>& rows) {
  const AttentionProblem& p = *task.problem;
  bool areAll = p.skipsClosedRows();
  for (int lane = 0; areAll && lane < rows.count; ++lane)
    areAll = p.gate.closes(outputRow(task.sequence, rows.token[lane], rows.head[lane]));
  return areAll;
}

// The output of a panel that is not computed. `zeros`: room for a row.
void writeClosed(const TileTask& task, const QueryRows<kPanel>& rows, float* zeros) {
  const AttentionProblem& p = *task.problem;
  for (int d = 0; d < p.valueDim; ++d) zeros[d] = 0;
  for (int lane = 0; lane < rows.count; ++lane) {
    const OutputRow row = outputRow(task.sequence, rows.token[lane], rows.head[lane]);
    const int64_t at = p.out.offset(row.batch, row.token, row.head);
    writeRow(zeros, p.valueDim, p.dtype, p.out.dim, const_cast<void*>(elementAt(p.out.data, p.dtype, at)));
  }
}

// Decode: the groups of a task that have a row to compute, by bit.
uint64_t openGroups(const DecodeTask& task) {
  const AttentionProblem& p = *task.problem;
  uint64_t open = task.groups == kMostBundle ? ~uint64_t(0) : (uint64_t(1) << task.groups) - 1;
  for (int g = 0; p.skipsClosedRows() && g < task.groups; ++g) {
    bool isClosed = true;
    for (int r = 0; isClosed && r < task.rows; ++r) {
      const TileMap::Row row = task.map.next(g).at(r);
      isClosed = p.gate.closes(outputRow(task.sequence, row.token, row.head));
    }
    if (isClosed) open &= ~(uint64_t(1) << g);
  }
  return open;
}
