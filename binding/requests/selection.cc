// The request of a selection; see request.h. Reader: someone who adds a field.
#include "reading.h"
#include "request.h"

namespace tilewise {
namespace {

// A stage's lists, which lie one after the other from the start of its views.
Placed<int32_t> readLists(Napi::Env env, const char* name, const View& view, const SelectionProblem& p, int32_t s,
                          int64_t each) {
  if (reinterpret_cast<uintptr_t>(view.data) % sizeof(int32_t) != 0) refuse(env, std::string(name) + " is not aligned");
  const int64_t room = view.bytes / int64_t(sizeof(int32_t)), blocks = p.blocks(s);
  if (blocks > 0 && p.batch > room / each / blocks / p.lists()) {
    refuse(env, std::string(name) + " has too little room for its lists");
  }
  return {reinterpret_cast<int32_t*>(view.data), view.isOnDevice()};
}

void readStage(const Numbers& n, const Views& views, SelectionProblem& p, int32_t s) {
  SelectionStage& stage = p.stage[s];
  const size_t base = size_t(SelectField::count) + size_t(s) * size_t(SelectStageField::count);
  const size_t slot = size_t(SelectSlot::count) + size_t(s) * size_t(SelectStageSlot::count);
  const auto count = [&](SelectStageField f) {
    return n.count(base + size_t(f), kSelectStageFieldNames[size_t(f)], 1);
  };
  stage.blockQueries = count(SelectStageField::blockQueries);
  stage.strideQueries = count(SelectStageField::strideQueries);
  stage.chunk = count(SelectStageField::chunk);
  stage.keep = count(SelectStageField::keep);
  if (s > 0) {
    const SelectionStage& before = p.stage[s - 1];
    if (before.blockQueries % stage.blockQueries != 0 || before.chunk % stage.chunk != 0) {
      refuse(n.env(), "a stage's chunk and block of queries must divide those of the stage before");
    }
  }
  if (s < p.firstStage - 1) return;  // neither read nor written
  const View starts = views.at(slot + size_t(SelectStageSlot::starts));
  const View counts = views.at(slot + size_t(SelectStageSlot::counts));
  stage.starts = readLists(n.env(), "starts", starts, p, s, stage.keep);
  stage.counts = readLists(n.env(), "counts", counts, p, s, 1);
}

}  // namespace

SelectionRequest readSelection(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Numbers n(info, size_t(SelectField::count));
  const auto count = [&](SelectField f, int32_t least) {
    return n.count(size_t(f), kSelectFieldNames[size_t(f)], least);
  };
  SelectionRequest request;
  SelectionProblem& p = request.problem;
  request.device = count(SelectField::device, 0);
  p.batch = count(SelectField::batch, 0);
  p.queryHeads = count(SelectField::queryHeads, 1);
  p.kvHeads = count(SelectField::kvHeads, 1);
  p.queries = count(SelectField::queries, 0);
  p.keys = count(SelectField::keys, 0);
  p.headDim = count(SelectField::headDim, 1);
  p.dtype = n.type(size_t(SelectField::type));
  p.pairing = static_cast<Pairing>(n.whole(size_t(SelectField::pairing), "pairing", 0, int32_t(Pairing::interleave)));
  p.sink = count(SelectField::sink, 0);
  p.window = count(SelectField::window, 1);
  p.headsPerList = count(SelectField::headsPerList, 1);
  p.method =
      static_cast<SelectionMethod>(n.whole(size_t(SelectField::method), "method", 0, int32_t(SelectionMethod::tree)));
  p.strideKeys = count(SelectField::strideKeys, 1);
  p.stages = int32_t(n.whole(size_t(SelectField::stages), "stages", 1, kMaxSelectionStages));
  p.firstStage = int32_t(n.whole(size_t(SelectField::firstStage), "firstStage", 0, p.stages));
  const int32_t heads = p.outputHeads();
  if (heads % p.queryHeads != 0 || heads % p.kvHeads != 0 || heads % p.headsPerList != 0) {
    refuse(env, "the numbers of heads must divide");
  }
  if (p.method == SelectionMethod::tree && p.stages != 1) refuse(env, "a tree has one stage");
  if (n.size() < size_t(SelectField::count) + size_t(p.stages) * size_t(SelectStageField::count)) {
    refuse(env, "the request lacks fields");
  }

  const Views views(info, size_t(SelectSlot::count) + size_t(p.stages) * size_t(SelectStageSlot::count), request.device,
                    request.held);
  p.query = readOperand(n, "q", size_t(SelectField::queryOffset), views.at(size_t(SelectSlot::query)), p.batch,
                        p.queries, p.queryHeads, p.headDim, p.dtype);
  p.key = readOperand(n, "k", size_t(SelectField::keyOffset), views.at(size_t(SelectSlot::key)), p.batch, p.keys,
                      p.kvHeads, p.headDim, p.dtype);
  for (int32_t s = 0; s < p.stages; ++s) readStage(n, views, p, s);
  if (const View keyLengths = views.at(size_t(SelectSlot::keyLengths)); keyLengths.isPresent) {
    request.keyLengths = copyOf(env, keyLengths);
    if (request.keyLengths.size() != size_t(p.batch)) refuse(env, "one key length per batch entry");
    for (const int32_t length : request.keyLengths) {
      if (length < 0 || length > p.keys) refuse(env, "key lengths must be from 0 to the number of keys");
    }
    p.keyLengths = request.keyLengths.data();
  }
  return request;
}

}  // namespace tilewise
