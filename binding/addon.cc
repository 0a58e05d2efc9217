// The addon: what lib/native/native.ts declares as `Native`, one method each.
// Reader: someone who follows a call from lib/ to a backend. No arithmetic here: unwrap, run, wrap.

#include <napi.h>

#include <array>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "backends.h"
#include "call/flights.h"
#include "call/transfer.h"
#include "failures.h"
#include "memory/device_buffer.h"
#include "memory/huge_pages.h"
#include "requests/ops.h"
#include "requests/plan.h"
#include "requests/ranges.h"
#include "requests/reading.h"
#include "requests/sampling.h"

namespace tilewise {
namespace {

Backend& backendAt(Napi::Env env, size_t index) {
  if (index == 0) return host();
  if (index >= backends().size()) throw Napi::RangeError::New(env, "there is no such backend");
  return *backends()[index];
}

template <class Strings>
Napi::Array toArray(Napi::Env env, const Strings& strings) {
  Napi::Array array = Napi::Array::New(env, strings.size());
  uint32_t i = 0;
  for (const auto& string : strings) array.Set(i++, Napi::String::New(env, string));
  return array;
}

// Of every operation by name, what its numbers and views are called.
Napi::Object listOps(Napi::Env env) {
  Napi::Object list = Napi::Object::New(env);
  for (const Op* op : ops()) {
    Napi::Object names = Napi::Object::New(env);
    names.Set("fields", toArray(env, op->fields));
    names.Set("views", toArray(env, op->views));
    names.Set("itemFields", toArray(env, op->itemFields));
    names.Set("itemViews", toArray(env, op->itemViews));
    list.Set(op->name, names);
  }
  return list;
}

const char* compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "msvc";
#endif
}

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports) : flights_(env) {
    const std::array<const char*, 3> types{nameOf(DType::float32), nameOf(DType::float16), nameOf(DType::bfloat16)};
    DefineAddon(exports, {
                             InstanceValue("ops", listOps(env)),
                             InstanceValue("dataTypes", toArray(env, types)),
                             method<&Addon::supports>("supports"),
                             method<&Addon::run>("run"),
                             method<&Addon::submit>("submit"),
                             method<&Addon::cancel>("cancel"),
                             method<&Addon::allocate>("allocate"),
                             method<&Addon::share>("share"),
                             method<&Addon::releaseHandle>("release"),
                             method<&Addon::upload>("upload"),
                             method<&Addon::uploadSync>("uploadSync"),
                             method<&Addon::download>("download"),
                             method<&Addon::downloadSync>("downloadSync"),
                             method<&Addon::tellOfMemory>("tellCollector"),
                             method<&Addon::preferHugePages>("preferHugePages"),
                             method<&Addon::addressOf>("addressOf"),
                             method<&Addon::explain>("explain"),
                             method<&Addon::sights>("sights"),
                             method<&Addon::selectionBounds>("selectionBounds"),
                             method<&Addon::passes<readLinearShape>>("linearPasses"),
                             method<&Addon::passes<readDeltaShape>>("deltaPasses"),
                             method<&Addon::passes<readCumulativeShape>>("cumulativePasses"),
                             method<&Addon::sampledBlocks>("sampledBlocks"),
                             method<&Addon::documentRanges>("documentRanges"),
                             method<&Addon::sliceRanges>("sliceRanges"),
                             method<&Addon::positionRanges>("positionRanges"),
                             method<&Addon::listBackends>("backends"),
                             method<&Addon::numThreads>("numThreads"),
                             method<&Addon::setNumThreads>("setNumThreads"),
                             method<&Addon::setNumThreadsOnce>("setNumThreadsOnce"),
                             method<&Addon::runTimes>("runTimes"),
                             method<&Addon::instructionSets>("instructionSets"),
                             method<&Addon::instructionSet>("instructionSet"),
                             method<&Addon::setInstructionSet>("setInstructionSet"),
                             method<&Addon::version>("version"),
                         });
  }

 private:
  // Every method is called through this: whatever goes wrong in one reaches JavaScript with a code.
  template <auto call>
  Napi::Value guardedCall(const Napi::CallbackInfo& info) {
    return guarded(info.Env(), [&]() -> Napi::Value {
      if constexpr (std::is_void_v<decltype((this->*call)(info))>) {
        (this->*call)(info);
        return info.Env().Undefined();
      } else {
        return (this->*call)(info);
      }
    });
  }
  template <auto call>
  static Napi::ClassPropertyDescriptor<Addon> method(const char* name) {
    return InstanceMethod(name, &Addon::guardedCall<call>);
  }

  // (operation, numbers, views), all three.
  static Request readRequest(const Napi::CallbackInfo& info) {
    return opNamed(info.Env(), info[0]).read(info.Env(), info[1], info[2]);
  }
  // Why a backend, available or not, could not run a call.
  Napi::Value supports(const Napi::CallbackInfo& info) {
    const Request request = readRequest(info);
    return toArray(info.Env(), backendAt(info.Env(), request.device).supports(request.problem));
  }
  Napi::Value run(const Napi::CallbackInfo& info) {
    return runOrRefuse(info, [&](Backend& backend, const Request& request) {
      backend.run(request.problem, CancelFlag{false});
      return info.Env().Undefined();
    });
  }
  // A brief call runs at once; there is no flight then.
  Napi::Value submit(const Napi::CallbackInfo& info) {
    return runOrRefuse(info, [&](Backend& backend, Request& request) {
      if (backend.isBrief(request.problem)) {
        backend.run(request.problem, CancelFlag{false});
        return info.Env().Undefined();
      }
      return flights_.start(info.Env(), backend, std::move(request), info[2]);
    });
  }
  // Returns the reasons of a backend that cannot run the request.
  template <class Go>
  static Napi::Value runOrRefuse(const Napi::CallbackInfo& info, Go&& go) {
    const Napi::Env env = info.Env();
    Request request = readRequest(info);
    Backend& backend = backendAt(env, request.device);
    const std::vector<std::string> reasons = backend.supports(request.problem);
    if (!reasons.empty()) return toArray(env, reasons);
    return go(backend, request);
  }

  // (device, bytes): a handle of new memory on a device.
  Napi::Value allocate(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Numbers n(env, info[0], 2);
    const size_t device = size_t(n.count(0, "a device"));
    const int64_t bytes = n.whole(1, "bytes", 0, kMaxExact);
    DeviceMemory* memory = backendAt(env, device).memory();
    if (!memory) throw Napi::RangeError::New(env, "this backend has no memory of its own");
    return toHandle(env, std::make_shared<const Allocation>(env, device, *memory, bytes));
  }
  // (handle): another handle of the same memory.
  Napi::Value share(const Napi::CallbackInfo& info) { return toHandle(info.Env(), heldBy(info.Env(), info[0])); }
  void releaseHandle(const Napi::CallbackInfo& info) { release(info.Env(), info[0]); }

  // (handle, typed array, byte): between a typed array and as many bytes of device memory from `byte` on.
  Napi::Value upload(const Napi::CallbackInfo& info) { return startTransfer(info, &Transfer::upload); }
  Napi::Value download(const Napi::CallbackInfo& info) { return startTransfer(info, &Transfer::download); }
  void uploadSync(const Napi::CallbackInfo& info) { readTransfer(info).upload(); }
  void downloadSync(const Napi::CallbackInfo& info) { readTransfer(info).download(); }
  Napi::Value startTransfer(const Napi::CallbackInfo& info, void (Transfer::*move)() const) {
    const Transfer transfer = readTransfer(info);
    return flights_.start(info.Env(), [=] { (transfer.*move)(); }, info[1], heldBy(info.Env(), info[0]));
  }

  // (typed array): where its memory is; the same for all arrays over the same memory, whatever their buffers.
  Napi::Value addressOf(const Napi::CallbackInfo& info) {
    const View view = readView(info.Env(), info[0]);
    return Napi::Number::New(info.Env(), double(reinterpret_cast<uintptr_t>(view.data)));
  }

  // (typed array): of its memory.
  void preferHugePages(const Napi::CallbackInfo& info) {
    const View view = readView(info.Env(), info[0]);
    if (!view.isOnDevice()) tilewise::preferHugePages(view.data, view.bytes);
  }

  void cancel(const Napi::CallbackInfo& info) { flights_.cancel(info[0].ToNumber()); }

  // (numbers, views, tiles): the tiles of readTiles().
  Napi::Value explain(const Napi::CallbackInfo& info) {
    const Request request = readShape(info.Env(), info[0], info[1]);
    const auto& problem = std::get<AttentionProblem>(request.problem);
    const Backend& backend = backendAt(info.Env(), request.device);
    TileChoice choice = backend.tiles(problem);
    const bool isAsked = readTiles(info.Env(), info[2], problem, choice.rule);
    const Plan plan = tilewise::explain(problem, choice.rule);
    Napi::Object result = toObject(info.Env(), plan);
    result.Set("why", isAsked ? "" : choice.why);
    result.Set("reasons", toArray(info.Env(), backend.supports(request.problem)));
    return result;
  }
  // (numbers, views, boxes): what boxes of queries see, for pictures; with the tiles of readTiles() those that they
  // visit.
  Napi::Value sights(const Napi::CallbackInfo& info) {
    const Request request = readShape(info.Env(), info[0], info[1]);
    const auto& problem = std::get<AttentionProblem>(request.problem);
    if (info[3].IsUndefined()) return toArray(info.Env(), readSights(info.Env(), info[2], problem, nullptr));
    TileRule rule = backendAt(info.Env(), request.device).tiles(problem).rule;
    readTiles(info.Env(), info[3], problem, rule);
    return toArray(info.Env(), readSights(info.Env(), info[2], problem, &rule));
  }
  // (numbers): what a selection costs and keeps at most.
  Napi::Value selectionBounds(const Napi::CallbackInfo& info) {
    const SelectionBounds bounds = boundsOf(readSelectionShape(info.Env(), info[0]));
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("dots", double(bounds.dots));
    result.Set("kept", double(bounds.kept));
    return result;
  }

  // (numbers): how a call is divided, and why a device would refuse it.
  template <Request (*readShape)(Napi::Env, const Napi::Value&)>
  Napi::Value passes(const Napi::CallbackInfo& info) {
    const Request request = readShape(info.Env(), info[0]);
    const Backend& backend = backendAt(info.Env(), request.device);
    const LinearPasses passes = backend.passes(request.problem);
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("chunk", passes.chunk);
    result.Set("groups", double(passes.groups));
    result.Set("isSplit", passes.isSplit);
    result.Set("bytes", passes.bytes);
    result.Set("reasons", toArray(info.Env(), backend.supports(request.problem)));
    return result;
  }

  // (numbers, lengths, table): the block lists that a rule draws for sequences.
  Napi::Value sampledBlocks(const Napi::CallbackInfo& info) {
    return drawBlocks(info.Env(), info[0], info[1], info[2]);
  }
  // (fields): what a rule makes of documents, slices and positions.
  Napi::Value documentRanges(const Napi::CallbackInfo& info) { return tilewise::documentRanges(info.Env(), info[0]); }
  Napi::Value sliceRanges(const Napi::CallbackInfo& info) { return tilewise::sliceRanges(info.Env(), info[0]); }
  Napi::Value positionRanges(const Napi::CallbackInfo& info) { return tilewise::positionRanges(info.Env(), info[0]); }

  Napi::Value listBackends(const Napi::CallbackInfo& info) {
    Napi::Array list = Napi::Array::New(info.Env(), backends().size());
    uint32_t i = 0;
    for (const Backend* backend : backends()) {
      const Availability availability = backend->availability();
      Napi::Object entry = Napi::Object::New(info.Env());
      entry.Set("name", backend->name());
      entry.Set("isAvailable", availability.isAvailable);
      entry.Set("reason", availability.reason);
      if (availability.code) entry.Set("code", availability.code);
      entry.Set("description", backend->description());
      entry.Set("bytesInUse", double(bytesInUse(i)));
      list.Set(i++, entry);
    }
    return list;
  }

  void tellOfMemory(const Napi::CallbackInfo& info) {
    const double bytes = info[0].ToNumber();
    if (!(std::fabs(bytes) <= kMaxExact)) refuse(info.Env(), "bytes are out of range");
    tellCollector(info.Env(), int64_t(bytes));
  }
  Napi::Value numThreads(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), host().threads()); }
  void setNumThreads(const Napi::CallbackInfo& info) { host().setThreads(info[0].ToNumber()); }
  void setNumThreadsOnce(const Napi::CallbackInfo& info) { host().setThreadsOnce(info[0].ToNumber()); }
  Napi::Value runTimes(const Napi::CallbackInfo& info) {
    const RunTimes times = host().runTimes();
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("ran", double(times.ran));
    result.Set("waited", double(times.waited));
    return result;
  }

  Napi::Value instructionSets(const Napi::CallbackInfo& info) { return toArray(info.Env(), host().instructionSets()); }
  Napi::Value instructionSet(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), host().instructionSet());
  }
  Napi::Value setInstructionSet(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), host().setInstructionSet(info[0].ToString()));
  }

  Napi::Value version(const Napi::CallbackInfo& info) {
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("tilewise", TILEWISE_VERSION);
    result.Set("napi", NAPI_VERSION);
    result.Set("compiler", compiler());
    return result;
  }

  Flights flights_;
};

}  // namespace
}  // namespace tilewise

// The macro's names would lie in the namespace of its caller.
using tilewise::Addon;
NODE_API_ADDON(Addon)
