// The runtime and the backend without Node, on whatever driver TILEWISE_LIBCUDA names: runs the commands it is given
// and prints a line of JSON for each. Usage: driver_program <folder of kernel images> <command>... Reader: someone who
// reads test/devices/driver.test.ts. Operations launch `touch` of the module `probe` and copy queries to out, which is
// possible because the fake driver's memory is plain memory.

#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "../../cuda/backend.h"
#include "../../cuda/operations.h"
#include "../../cuda/runtime/backends.h"

using namespace tilewise;

namespace {

uint32_t sharedBytes = 0;  // of the next launches
int launches = 1;          // of a call
CancelFlag* cancelAfterFirst = nullptr;

}  // namespace

namespace tilewise::cuda {

void run(const StagedAttention& staged, const Limits&, Queue& queue, const CancelFlag& cancel) {
  const AttentionProblem& p = staged.problem;
  for (int i = 0; i < launches && !cancel; ++i) {
    queue.launch({"probe", "touch", 1, 128, sharedBytes, &p, sizeof(p)});
    if (cancelAfterFirst) *cancelAfterFirst = true;
  }
  if (cancel) return;
  const auto* from = static_cast<const float*>(p.query.data);
  auto* to = static_cast<float*>(p.out.data);
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t t = 0; t < p.queries; ++t) {
      for (int64_t h = 0; h < p.queryHeads; ++h) {
        for (int64_t d = 0; d < p.valueDim; ++d) {
          to[p.out.offset(b, t, h) + d * p.out.dim] = from[p.query.offset(b, t, h) + d * p.query.dim];
        }
      }
    }
  }
}
void run(const AppendProblem&, const Limits&, Queue&, const CancelFlag&) {}
void run(const CumulativeProblem&, const Limits&, Queue&, const CancelFlag&) {}
void run(const DeltaProblem&, const Limits&, Queue&, const CancelFlag&) {}
void run(const EncodeProblem&, const Limits&, Queue&, const CancelFlag&) {}
void run(const LocalLinearProblem&, const Limits&, Queue&, const CancelFlag&) {}
void run(const StatsProblem&, const Limits&, Queue&, const CancelFlag&) {}
void run(const SummaryProblem&, const Limits&, Queue&, const CancelFlag&) {}
void run(const StagedLinear&, const Limits&, Queue&, const CancelFlag&) {}
void run(const MergeProblem&, const Limits&, Queue&, const CancelFlag&) {}
void run(const StagedRotary&, const Limits&, Queue&, const CancelFlag&) {}
void run(const SelectionProblem&, const Limits&, Queue&, const CancelFlag&) {}
TileChoice tilesFor(const AttentionProblem&) { return {}; }
LinearPasses passesOf(const LinearProblem&, const Limits&) { return {}; }
LinearPasses passesOf(const DeltaProblem&, const Limits&) { return {}; }
LinearPasses passesOf(const CumulativeProblem&, const Limits&) { return {}; }
void addReasons(Reasons&, const AttentionProblem&, const Limits&) {}
void addReasons(Reasons&, const AppendProblem&, const Limits&) {}
void addReasons(Reasons&, const CumulativeProblem&, const Limits&) {}
void addReasons(Reasons&, const DeltaProblem&, const Limits&) {}
void addReasons(Reasons&, const EncodeProblem&, const Limits&) {}
void addReasons(Reasons&, const LocalLinearProblem&, const Limits&) {}
void addReasons(Reasons&, const StatsProblem&, const Limits&) {}
void addReasons(Reasons&, const SummaryProblem&, const Limits&) {}
void addReasons(Reasons&, const LinearProblem&, const Limits&) {}
void addReasons(Reasons&, const MergeProblem&, const Limits&) {}
void addReasons(Reasons&, const RotaryProblem&, const Limits&) {}
void addReasons(Reasons&, const SelectionProblem&, const Limits&) {}

}  // namespace tilewise::cuda

namespace {

std::string json(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + '"';
}

// A call of attention with queries of its own, and whether `out` became what it must.
struct Call {
  AttentionProblem problem;
  std::vector<float> query, out;
  CancelFlag cancel{false};

  explicit Call(int tokens, float seed = 0) : query(size_t(tokens) * 48), out(query.size(), -1.0f) {
    for (size_t i = 0; i < query.size(); ++i) query[i] = seed + float(i);
    AttentionProblem& p = problem;
    p.batch = p.sequences = 1;
    p.queryHeads = p.kvHeads = 2;
    p.queries = p.keys = tokens;
    p.headDim = p.valueDim = 24;
    p.query = p.key = p.value = {query.data(), 0, 48, 24, 1};
    p.out = {out.data(), 0, 48, 24, 1};
  }
  bool isRight() const { return out == query; }
  bool isUntouched() const { return out == std::vector<float>(out.size(), -1.0f); }
};

// `count` calls at once, each given to one of the backends in turn.
void submitMany(const std::vector<Backend*>& backends, int count) {
  std::mutex mutex;
  std::condition_variable changed;
  int left = count;
  std::vector<std::unique_ptr<Call>> calls;
  std::exception_ptr first;
  for (int i = 0; i < count; ++i) {
    calls.push_back(std::make_unique<Call>(200 + 37 * i, float(i)));
    backends[size_t(i) % backends.size()]->submit(calls.back()->problem, calls.back()->cancel,
                                                  [&](std::exception_ptr error) {
                                                    const std::lock_guard<std::mutex> lock(mutex);
                                                    if (error && !first) first = error;
                                                    if (--left == 0) changed.notify_all();
                                                  });
  }
  std::unique_lock<std::mutex> lock(mutex);
  changed.wait(lock, [&] { return left == 0; });
  if (first) std::rethrow_exception(first);
  for (const auto& call : calls) {
    if (!call->isRight()) throw std::runtime_error("a result is wrong");
  }
}

// To the device and back, through more pinned memory than there is.
void copy(Backend& backend, int64_t bytes) {
  DeviceMemory& memory = *backend.memory();
  std::vector<char> there(size_t(bytes), 0), back(size_t(bytes), 1);
  for (size_t i = 0; i < there.size(); ++i) there[i] = char(i * 7 + i / 4096);
  void* data = memory.allocate(bytes);
  try {
    memory.write(data, there.data(), bytes);
    memory.read(back.data(), data, bytes);
  } catch (...) {
    memory.free(data);
    throw;
  }
  memory.free(data);
  if (there != back) throw std::runtime_error("other bytes came back");
}

void perform(const std::vector<Backend*>& backends, const std::string& verb, size_t device, int64_t number) {
  const auto require = [](bool holds, const char* what) {
    if (!holds) throw std::runtime_error(what);
  };
  Backend& backend = *backends.at(device);
  if (verb == "run") {
    Call call(number ? int(number) : 10);
    backend.run(call.problem, call.cancel);
    require(call.isRight(), "the result is wrong");
  } else if (verb == "cancel") {
    Call call(10);
    launches = 5;
    cancelAfterFirst = &call.cancel;
    backend.run(call.problem, call.cancel);
    launches = 1;
    cancelAfterFirst = nullptr;
    require(call.isUntouched(), "a cancelled call wrote its result");
  } else if (verb == "shared") {
    sharedBytes = uint32_t(number);
    Call call(10);
    backend.run(call.problem, call.cancel);
    sharedBytes = 0;
  } else if (verb == "copy") {
    copy(backend, number);
  } else if (verb == "many") {
    submitMany(backends, int(number));
  } else {
    throw std::runtime_error("unknown command " + verb);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<Backend*> backends = cuda::backendsWithKernels(argv[1]);
  for (const Backend* backend : backends) {
    const Availability a = backend->availability();
    std::printf("{\"name\": %s, \"isAvailable\": %s, \"code\": %s, \"reason\": %s}\n", json(backend->name()).c_str(),
                a.isAvailable ? "true" : "false", a.code ? json(a.code).c_str() : "null", json(a.reason).c_str());
  }
  for (int i = 2; i < argc; ++i) {  // verb, verb:device or verb:device:number
    std::istringstream words(argv[i]);
    std::string verb, device, number, code = "", message = "";
    std::getline(words, verb, ':');
    std::getline(words, device, ':');
    std::getline(words, number, ':');
    try {
      perform(backends, verb, device.empty() ? 0 : size_t(std::stoul(device)), number.empty() ? 0 : std::stoll(number));
    } catch (const BackendError& error) {
      code = error.code;
      message = error.what();
    } catch (const std::exception& error) {
      code = "unexpected";
      message = error.what();
    }
    std::printf("{\"command\": %s, \"code\": %s, \"message\": %s}\n", json(argv[i]).c_str(), json(code).c_str(),
                json(message).c_str());
  }
  return 0;
}
