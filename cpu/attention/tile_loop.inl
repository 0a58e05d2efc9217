// One tile of queries against what its pattern lets it see: which runs of keys, in which blocks, how masked.
// Included inside a target's anonymous namespace. Reader: start at runTile() at the end. Templated on the pattern,
// and therefore short: the arithmetic is in flash_loop.inl, once for all patterns.

// What a panel sees and what each of its queries sees, apart from keys.
template <class Pattern>
struct PanelSights {
  typename Pattern::Sight panel;
  typename Pattern::Sight lane[kPanel];
};
// Room for any pattern's.
constexpr int64_t largestSights() {
  int64_t most = 0;
#define TW_LARGEST(name, Pattern, ...) \
  if (most < int64_t(sizeof(PanelSights<Pattern>))) most = sizeof(PanelSights<Pattern>);
  TW_PATTERNS(TW_LARGEST)
#undef TW_LARGEST
  return most;
}
constexpr int64_t kSightBytes = largestSights();

// Panels of a tile in one dimension are consecutive rows of its map.
template <class Pattern>
int panelsOf(const TileTask& task) {
  if constexpr (!Pattern::kIsGrid) {
    return ceilDiv(task.rows, kPanel);
  } else {
    int panels = 1;
    for (int a = 0; a < Pattern::kRank; ++a) panels *= ceilDiv(task.grid.queries.axis[a].size(), task.grid.panel[a]);
    return panels;
  }
}

// The queries of panel `index` of a sequence.
Box<1> fillFromSequence(const TileTask& task, const TileMap& map, int index, QueryRows<kPanel>& rows) {
  const int first = index * kPanel, n = smaller(kPanel, task.rows - first);
  rows.set(*task.problem, task.sequence, map, task.firstRow + first, n);
  return {{{rows.token[0], rows.token[n - 1] + 1}}};
}
// The same of a dilation group.
template <class Pattern>
Box<Pattern::kRank> fillFromGrid(const TileTask& task, const Pattern& pattern, int index, QueryRows<kPanel>& rows) {
  constexpr int Rank = Pattern::kRank;
  Box<Rank> box;
  for (int a = Rank - 1; a >= 0; --a) {
    const Range& queries = task.grid.queries.axis[a];
    const Token panel = task.grid.panel[a], panels = ceilDiv(queries.size(), panel);
    const Token begin = queries.begin + index % panels * panel;
    box.axis[a] = intersect({begin, begin + panel}, {0, smaller(queries.end, pattern.axis[a].length)});
    index /= panels;
  }
  const int n = int(box.size());
  rows.count = n;
  if (n == 0) return box;
  Token place[Rank];
  for (int a = 0; a < Rank; ++a) place[a] = box.axis[a].begin;
  for (int lane = 0; lane < kPanel; ++lane) {
    rows.token[lane] = pattern.origin;
    rows.head[lane] = task.map.firstHead;
    for (int a = 0; a < Rank; ++a) {
      rows.place[a][lane] = place[a];
      rows.token[lane] += place[a] * pattern.step[a];
    }
    if (lane >= n - 1) continue;  // lanes past the last query repeat it
    for (int a = Rank - 1; ++place[a] == box.axis[a].end; --a) place[a] = box.axis[a].begin;
  }
  rows.setRules(*task.problem, task.sequence, Rank);
  return box;
}
// Says which queries the lanes of panel `index` of a head hold; returns the box they are in, empty when it has none.
template <class Pattern>
Box<Pattern::kRank> fillPanel(const TileTask& task, const TileMap& map, const Pattern& pattern, int index,
                              QueryRows<kPanel>& rows) {
  if constexpr (Pattern::kIsGrid) {
    return fillFromGrid(task, pattern, index, rows);
  } else {
    return fillFromSequence(task, map, index, rows);
  }
}
// The box of one lane's query.
template <class Pattern>
Box<Pattern::kRank> laneBox(const QueryRows<kPanel>& rows, int lane) {
  if constexpr (Pattern::kIsGrid) {
    Box<Pattern::kRank> box;
    for (int a = 0; a < Pattern::kRank; ++a) box.axis[a] = {rows.place[a][lane], rows.place[a][lane] + 1};
    return box;
  } else {
    return {{{rows.token[lane], rows.token[lane] + 1}}};
  }
}

// What the score rules do to a run of keys for a panel of a tile.
Effects<kMostBlockKeys> effectsOn(const TileTask& task, const Panel& panel, const KeyRun& run) {
  uint8_t* const known = task.effects.panel(task.firstRow / kPanel + panel.index);
  return {task.problem->rules, panel.rows, run, task.sequence.keys.size(), known};
}

// Cuts a block by what the panel sees and by what the score rules do to it. Returns how many segments there are.
// Interior runs that no rule and no factor changes, that have one addend, and whose keys and values follow each other
// in memory are one segment; either may have been copied together and the other not.
template <class Pattern>
int findSegments(const TileTask& task, const TileScratch& s, const Pattern& pattern, const KeyBlock& block,
                 const PanelSights<Pattern>& sights, int panel) {
  const ScoreRules& rules = task.problem->rules;
  const QueryRows<kPanel>& queries = s.panels[panel].rows;
  int count = 0, rows = 0;
  for (int i = 0; i < block.spanCount; ++i) {
    const Span& span = block.spans[i];
    const auto add = [&](const Stretch& stretch, bool areScoresChanged) {
      const Token skip = stretch.run.places.begin - span.run.places.begin;
      const int first = span.first + skip, n = stretch.run.places.size();
      const float *k = span.k + skip * block.kStride, *v = span.v + skip * block.vStride;
      const TokenMasks masks = block.isExtra ? TokenMasks{} : tokenMasks(pattern, stretch.run, queries.token[0]);
      const bool hasTable = areScoresChanged || masks.first, isMasked = hasTable || !stretch.isInterior;
      const float addend = block.isExtra ? 0 : addendOf(pattern, stretch.run);
      const bool hasFactors = block.isExtra ? task.problem->cosine.isUsed : task.problem->hasFactors();
      Segment* last = count > 0 ? &s.segments[count - 1] : nullptr;
      if (!isMasked && !hasFactors && last && !last->isMasked && last->run.addend == addend &&
          last->first + last->count == first && last->k + last->count * block.kStride == k &&
          last->v + last->count * block.vStride == v) {
        last->count += n;
      } else {
        float* ends = stretch.isInterior ? nullptr : s.ends + count * 2 * kPanel;
        for (int lane = 0; ends && lane < kPanel; ++lane) {
          const Range seen = pattern.cut(sights.lane[lane], stretch.run).keys;
          ends[lane] = float(seen.begin - stretch.run.places.begin);
          ends[kPanel + lane] = float(seen.end - stretch.run.places.begin);
        }
        s.segments[count++] = {
            {stretch.run, ends, masks, addend}, first, n, rows, k, v, isMasked, hasTable, hasFactors};
      }
      rows += n;
    };
    if (block.isExtra) {
      add(Stretch{span.run, true}, false);
      continue;
    }
    forEachStretch(pattern, sights.panel, span.run, kLeastInterior, [&](const Stretch& stretch) {
      if (!rules.areAny()) return add(stretch, false);
      effectsOn(task, s.panels[panel], stretch.run).forEachPart([&](const KeyRun& run, bool areScoresChanged) {
        add(Stretch{run, stretch.isInterior}, areScoresChanged);
      });
    });
  }
  return count;
}

// Whether the score rules hide a run of keys from all queries of a tile.
bool areHidden(const TileTask& task, const Panel* panels, int count, const KeyRun& run) {
  bool isHidden = task.problem->rules.areAny();
  for (int i = 0; isHidden && i < count; ++i) {
    isHidden = effectsOn(task, panels[i], run).ofAll() == RuleEffect::hidesAll;
  }
  return isHidden;
}

// Lays the tile's key runs into blocks, and runs every panel against each of them.
template <class Pattern>
void runBlocks(const TileTask& task, const TileScratch& s, const ScoreScale& scale, const Pattern& pattern,
               const typename Pattern::Sight& tile, const PanelSights<Pattern>* sights, int panels) {
  // One block is filled while the one before it waits, so that its rows can be requested early.
  KeyBlock blocks[2], *block = &blocks[0], *waiting = &blocks[1];
  const auto startBlock = [&](KeyBlock* b) {
    *b = KeyBlock{};
    b->spans = s.spans + (b - blocks) * task.shape.keys;
  };
  bool goesOn = true;
  const auto runWaiting = [&] {
    if (waiting->spanCount > 0 && goesOn) {
      for (int i = 0; i < panels; ++i) {
        const int32_t head = s.panels[i].head;
        if (i == 0 || head != s.panels[i - 1].head) {
          const bool isLast = head == s.panels[panels - 1].head;
          stageBlock<Pattern>(task, head, s.buffers, *waiting, isLast ? *block : *waiting, isLast ? 0 : head + 1);
        }
        const int segments = findSegments(task, s, pattern, *waiting, sights[i], i);
#if defined(TILEWISE_COUNT_VISITS)
        for (const Segment* at = s.segments; at < s.segments + segments && !waiting->isExtra; ++at)
          countVisit(int64_t(s.panels[i].rows.count) * at->count, !at->isMasked);
#endif
        if (segments == 0) continue;
        if constexpr (kSpreadUpTo > 0) {
          if (waiting->spread.areAny()) {
            visitSegments(task, s, scale, *waiting, s.panels[i], segments, waiting->spread);
            continue;
          }
        }
        visitSegments(task, s, scale, *waiting, s.panels[i], segments, kUnbroken);
      }
      goesOn = task.pause();
    }
    startBlock(waiting);
  };
  const auto closeBlock = [&] {
    if (block->spanCount == 0) return;
    runWaiting();
    KeyBlock* const closed = block;
    block = waiting;
    waiting = closed;
  };
  startBlock(block);
  startBlock(waiting);
  const Token capacity = task.shape.keys;
  const KeyStore& store = task.problem->store;
  const int32_t headsAlike = task.shape.sharesTables ? task.shape.heads : 1;
  // Where tiles depend on the threads, blocks end at multiples of their length, wherever the tile's keys begin: a row's
  // sums are then cut alike in every tile, and the choice of tile changes no bit. Other tiles are chosen by the
  // problem.
  Token blockEnd = 0;
  forEachRun(pattern, tile, [&](const KeyRun& run) {
    for (Token place = larger(run.places.begin, task.sequence.keyStart); place < run.places.end;) {
      Token room;
      if (task.alignsBlocks) {
        if (place >= blockEnd) {
          closeBlock();
          blockEnd = (place / capacity + 1) * capacity;
        }
        room = blockEnd - place;
      } else {
        if (block->rows == capacity) closeBlock();
        room = capacity - block->rows;
      }
      room = smaller(room, store.consecutive(place));  // the rows of a span are at equal distances
      const Token end = smaller<Token>(run.places.end, place + room);
      const KeyRun part = run.within({place, end});
      if (!areHidden(task, s.panels, panels / headsAlike, part)) block->add(part);
      place = end;
    }
  });
  closeBlock();
  for (Token first = 0; first < task.problem->extraTokens; first += capacity) {
    block->isExtra = true;
    block->add(KeyRun{{first, smaller(first + capacity, task.problem->extraTokens)}});
    closeBlock();
  }
  runWaiting();
}

template <class Pattern>
void runTile(const TileTask& task, const Pattern& pattern, float* scratch) {
  static_assert(sizeof(PanelSights<Pattern>) <= kSightBytes, "of fewer axes than core's list has");
  TileScratch s;
  layOutTile(*task.problem, task.shape, kSightBytes, scratch, s);
  const ScoreScale scale = task.problem->scoreScaleAfterQueries();
  auto* const sights = reinterpret_cast<PanelSights<Pattern>*>(s.sights);
  const Range heads = task.map.heads();
  const int candidates = panelsOf<Pattern>(task);
  int panels = 0;
  Box<Pattern::kRank> queries;
  for (int number = 0; number < candidates * task.shape.heads; ++number) {
    const int i = number % candidates;
    Panel& panel = s.panels[panels];
    panel.head = number / candidates;
    const Box<Pattern::kRank> box = fillPanel(task, task.map.next(panel.head), pattern, i, panel.rows);
    if (box.isEmpty()) continue;
    if (areClosed(task, panel.rows)) {
      writeClosed(task, panel.rows, s.rowBuffer);
      continue;
    }
    panel.index = i;
    prefetchQueries(task, panel);
    sights[panels].panel = lookAmong(pattern, heads, box);
    for (int lane = 0; lane < kPanel; ++lane)
      sights[panels].lane[lane] = pattern.look(panel.rows.head[lane], laneBox<Pattern>(panel.rows, lane));
    for (int a = 0; a < Pattern::kRank; ++a) {
      Range& all = queries.axis[a];
      all = panels == 0 ? box.axis[a] : Range{smaller(all.begin, box.axis[a].begin), larger(all.end, box.axis[a].end)};
    }
    ++panels;
  }
  if (panels == 0) return;
  for (int i = 0; i < panels; ++i) setUpPanel(task, s, i, s.panels[i]);
  runBlocks(task, s, scale, pattern, lookAmong(pattern, heads, queries), sights, panels);
  for (int i = 0; i < panels; ++i) finishPanel(task, s, s.panels[i]);
}

// Runs a tile with the pattern that its problem names.
void runTileTask(const TileTask& task, float* scratch) {
  const auto run = [&](const auto& pattern) { runTile(task, pattern, scratch); };
  withPattern(*task.problem, task.sequence, run, task.grid.group);
}
