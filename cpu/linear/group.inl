// Groups of chunks: heads beside each other take turns chunk by chunk. Included inside a target's anonymous namespace
// after chunk_loop.inl. Reader: someone who asks when memory is read. What heads have of a token follows each other in
// memory where tokens come first, so what is requested of the next chunk meanwhile comes as a stream.

// Requests what the chunk that begins at `first` reads and writes.
void requestChunk(const LinearGroup& g, Token first, bool readsKeys, bool hasOutputs, Requests& requests) {
  const LinearProblem& p = *g.problem;
  const int n = smaller<Token>(g.chunk, g.ahead - first);
  requests = Requests();
  if (n <= 0) return;
  const StateShape shape(p);
  const int64_t batch = g.sequence.batch;
  const int32_t perState = p.headsPerState(), head = g.head * perState, heads = g.heads * perState;
  const Token key = g.sequence.keys.begin + first, query = g.sequence.queries.begin + first;
  requests.steps = 0;
  if (readsKeys) {
    requests.keys = Ahead(p.key, p.dtype, batch, key, n, g.head, g.heads, p.headDim);
    requests.values = Ahead(p.value, p.dtype, batch, key, n, g.head, g.heads, p.valueDim);
    requests.steps += g.heads * stripTiles(shape.strips, shape.features);
  }
  if (hasOutputs) {
    requests.queries = Ahead(p.query, p.dtype, batch, query, n, head, heads, p.headDim);
    requests.outputs = Ahead(p.out, p.dtype, batch, query, n, head, heads, p.valueDim);
    requests.steps += heads * (stripTiles(shape.strips, n) + (p.isCausal ? pairTiles(n) : 0));
  }
}

// A chunk of one KV head. `areNew`: its decays are not those of the chunk before.
template <bool HasOutputs>
void passChunk(const LinearGroup& g, const StateShape& shape, Token first, int n, int32_t h, bool areNew,
               const float* carried, bool isLast, const ChunkScratch& s) {
  const LinearProblem& p = *g.problem;
  const int64_t batch = g.sequence.batch;
  const int32_t head = g.head + h;
  const Token token = g.sequence.keys.begin + first;
  readKeys(p, batch, token, n, head, s);
  readValues(p, shape, batch, token, n, head, g.chunk, s);
  if (areNew) {
    s.sums[0] = sumDecays(n, s.decays, [&](int r) { return decayAt(p, batch, token + r, head); });
    if (HasOutputs && p.decay) weighPairs(n, s.decays, s.scoreStride, s.weights);
  }
  if constexpr (HasOutputs) {
    const bool isFirst = first == g.tokens.begin;
    const float* seen = isFirst ? carried : s.state;
    if (carried && !isFirst) {
      addCarried(shape, s.state, expOf(s.sums[1]), carried, s.seen);
      seen = s.seen;
    }
    const int32_t heads = p.headsPerState();
    for (int32_t i = 0; i < heads; ++i) writeOutputs(g, shape, head * heads + i, first, n, seen, s);
  }
  if (!isLast) addChunk(g, shape, n, s.sums[0], s.state, s);
  s.sums[1] += s.sums[0];
}

// A group with its outputs or without. States of heads are g.stateStride apart.
template <bool HasOutputs>
void passGroup(const LinearGroup& g, const float* carried, float* end, float* scratch) {
  const LinearProblem& p = *g.problem;
  const StateShape shape(p);
  ChunkScratch s;
  layOutChunk(p, g.chunk, g.heads, scratch, s);
  setZeros(s.row, int64_t(shape.strips) * kPanel);
  for (int i = 0; i < s.scoreStride; ++i) s.indices[i] = float(i);
  Requests requests;
  s.requests = &requests;
  const auto use = [&](int32_t h) {
    useHead(shape, h, s);
    if (end) s.state = end + h * g.stateStride;
  };
  for (int32_t h = 0; h < g.heads; ++h) {
    use(h);
    setZeros(s.state, shape.floats());
    s.sums[1] = 0;
  }
  int known = 0;  // tokens of the chunk that the decays are of, where all chunks of that length share them
  for (Token first = g.tokens.begin; first < g.tokens.end; first += g.chunk) {
    const int n = smaller<Token>(g.chunk, g.tokens.end - first);
    const bool areNew = p.decayToken != 0 || known != n, isLast = !end && first + n == g.tokens.end;
    requestChunk(g, first + n, true, HasOutputs, requests);
    for (int32_t h = 0; h < g.heads; ++h) {
      use(h);
      passChunk<HasOutputs>(g, shape, first, n, h, areNew, carried ? carried + h * g.stateStride : nullptr, isLast, s);
    }
    known = n;
    if (!g.pause()) return;
  }
  for (int32_t h = 0; h < g.heads && end; ++h) {
    use(h);
    s.state[shape.decayAt()] = expOf(s.sums[1]);
  }
}

void sumGroup(const LinearGroup& g, float* end, float* scratch) { passGroup<false>(g, nullptr, end, scratch); }
void runGroup(const LinearGroup& g, const float* carried, float* end, float* scratch) {
  passGroup<true>(g, carried, end, scratch);
}

void readState(const LinearGroup& g, const float* state, float* scratch) {
  const LinearProblem& p = *g.problem;
  const StateShape shape(p);
  ChunkScratch s;
  layOutChunk(p, g.chunk, g.heads, scratch, s);
  Requests requests;
  s.requests = &requests;
  const int32_t heads = p.headsPerState();
  for (Token first = g.tokens.begin; first < g.tokens.end; first += g.chunk) {
    const int n = smaller<Token>(g.chunk, g.tokens.end - first);
    requestChunk(g, first + n, false, true, requests);
    for (int32_t h = 0; h < g.heads * heads; ++h) {
      writeOutputs(g, shape, g.head * heads + h, first, n, state + h / heads * g.stateStride, s);
    }
    if (!g.pause()) return;
  }
}
