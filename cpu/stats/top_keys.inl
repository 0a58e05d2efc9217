// The keys with a row's largest scores: a heap whose first entry is the one to go next. Included inside a target's
// anonymous namespace. Reader: someone who asks about ties: of equal scores the smaller token is kept, and comes first.

// A row's heap, of up to `most` entries.
struct TopKeys {
  float* scores;
  Token* tokens;
  Token* count;
  int most;

  SIMD TopKeys(const Strip& s, int r)
      : scores(s.topScores + int64_t(r) * s.topRoom),
        tokens(s.topTokens + int64_t(r) * s.topRoom),
        count(s.topCounts + r),
        most(s.topRoom) {}

  SIMD bool goesBefore(int a, int b) const {
    return scores[a] < scores[b] || (scores[a] == scores[b] && tokens[a] > tokens[b]);
  }
  SIMD void swap(int a, int b) {
    const float score = scores[a];
    const Token token = tokens[a];
    scores[a] = scores[b];
    tokens[a] = tokens[b];
    scores[b] = score;
    tokens[b] = token;
  }
  SIMD void sink(int at, int n) {
    for (;;) {
      int first = at;
      for (int child = 2 * at + 1; child <= 2 * at + 2 && child < n; ++child) {
        if (goesBefore(child, first)) first = child;
      }
      if (first == at) return;
      swap(at, first);
      at = first;
    }
  }
  // What a score must be above to be kept; tokens come in rising order.
  SIMD float least() const { return *count < most ? -INFINITY : scores[0]; }
  SIMD void add(float score, Token token) {
    int at = 0;
    if (*count < most) {
      at = (*count)++;
    }
    scores[at] = score;
    tokens[at] = token;
    if (at == 0) return sink(0, *count);
    for (; at > 0 && goesBefore(at, (at - 1) / 2); at = (at - 1) / 2) swap(at, (at - 1) / 2);
  }
  // Falling.
  SIMD void sort() {
    for (int n = *count - 1; n > 0; --n) {
      swap(0, n);
      sink(0, n);
    }
  }
};

// Takes up a block of a row's scores, `width` lanes from token `begin` on.
void addTop(const Strip& s, int r, const float* scores, Token begin, int width) {
  TopKeys top(s, r);
  Vec most = splat(-INFINITY);
  for (int i = 0; i < width; i += kLanes) most = max(load(scores + i), most);
  if (!(reduceMax(most) > top.least())) return;
  for (int i = 0; i < width; i += kLanes) {
    if (!(reduceMax(load(scores + i)) > top.least())) continue;
    for (int lane = i; lane < i + kLanes; ++lane) {
      if (scores[lane] > top.least()) top.add(scores[lane], begin + lane);
    }
  }
}

// Writes a row's keys and their probabilities.
void writeTop(const Strip& s, int r, float lse) {
  TopKeys top(s, r);
  top.sort();
  const int64_t at = s.rowOf(r) * s.p->topK;
  for (int i = 0; i < s.p->topK; ++i) {
    const bool isSeen = i < *top.count;
    s.p->topIndices[at + i] = isSeen ? top.tokens[i] : -1;
    s.p->topProbs[at + i] = isSeen ? __builtin_expf(top.scores[i] - lse) : 0;
  }
}
