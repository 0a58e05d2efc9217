// The addon: what lib/native.ts declares as `Native`, one method each.
// Reader: someone who follows a call from lib/ to a backend. No arithmetic here: unwrap, run, wrap.

#include <napi.h>

#include <array>
#include <string>
#include <vector>

#include "../cpu/backend.h"
#include "fields.h"
#include "flights.h"
#include "plan_request.h"
#include "request.h"

namespace tilewise {
namespace {

// The CPU first; lib/ prefers the last that is available. An array, because it must outlive every thread.
const std::array<Backend*, 1>& backends() {
  static const std::array<Backend*, 1> all{&cpu::backend()};
  return all;
}

Backend& backendAt(Napi::Env env, size_t index) {
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
                             InstanceValue("attentionFields", toArray(env, kFieldNames)),
                             InstanceValue("attentionViews", toArray(env, kSlotNames)),
                             InstanceValue("mergeFields", toArray(env, kMergeFieldNames)),
                             InstanceValue("mergePartFields", toArray(env, kMergePartFieldNames)),
                             InstanceValue("selectFields", toArray(env, kSelectFieldNames)),
                             InstanceValue("selectViews", toArray(env, kSelectSlotNames)),
                             InstanceValue("selectStageFields", toArray(env, kSelectStageFieldNames)),
                             InstanceValue("selectStageViews", toArray(env, kSelectStageSlotNames)),
                             InstanceValue("dataTypes", toArray(env, types)),
                             InstanceMethod("run", &Addon::run),
                             InstanceMethod("runSync", &Addon::runSync),
                             InstanceMethod("merge", &Addon::merge),
                             InstanceMethod("mergeSync", &Addon::mergeSync),
                             InstanceMethod("select", &Addon::select),
                             InstanceMethod("selectSync", &Addon::selectSync),
                             InstanceMethod("cancel", &Addon::cancel),
                             InstanceMethod("explain", &Addon::explain),
                             InstanceMethod("sights", &Addon::sights),
                             InstanceMethod("backends", &Addon::listBackends),
                             InstanceMethod("numThreads", &Addon::numThreads),
                             InstanceMethod("setNumThreads", &Addon::setNumThreads),
                             InstanceMethod("instructionSets", &Addon::instructionSets),
                             InstanceMethod("instructionSet", &Addon::instructionSet),
                             InstanceMethod("setInstructionSet", &Addon::setInstructionSet),
                             InstanceMethod("version", &Addon::version),
                         });
  }

 private:
  Napi::Value run(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    AttentionRequest request = readAttention(info);
    refuseResizable(env, info[1]);
    Backend& backend = backendAt(env, request.device);
    const std::vector<std::string> reasons = backend.supports(request.problem);
    if (!reasons.empty()) return toArray(env, reasons);
    return flights_.start(env, backend, std::move(request), info[1]);
  }

  Napi::Value runSync(const Napi::CallbackInfo& info) {
    const AttentionRequest request = readAttention(info);
    Backend& backend = backendAt(info.Env(), request.device);
    const std::vector<std::string> reasons = backend.supports(request.problem);
    if (!reasons.empty()) return toArray(info.Env(), reasons);
    backend.run(request.problem, CancelFlag{false});
    return info.Env().Undefined();
  }

  Napi::Value merge(const Napi::CallbackInfo& info) {
    MergeRequest request = readMerge(info);
    refuseResizable(info.Env(), info[1]);
    Backend& backend = backendAt(info.Env(), request.device);
    return flights_.start(info.Env(), backend, std::move(request), info[1]);
  }

  void mergeSync(const Napi::CallbackInfo& info) {
    const MergeRequest request = readMerge(info);
    backendAt(info.Env(), request.device).run(request.problem, CancelFlag{false});
  }

  Napi::Value select(const Napi::CallbackInfo& info) {
    SelectionRequest request = readSelection(info);
    refuseResizable(info.Env(), info[1]);
    Backend& backend = backendAt(info.Env(), request.device);
    const std::vector<std::string> reasons = backend.supports(request.problem);
    if (!reasons.empty()) return toArray(info.Env(), reasons);
    return flights_.start(info.Env(), backend, std::move(request), info[1]);
  }

  Napi::Value selectSync(const Napi::CallbackInfo& info) {
    const SelectionRequest request = readSelection(info);
    Backend& backend = backendAt(info.Env(), request.device);
    const std::vector<std::string> reasons = backend.supports(request.problem);
    if (!reasons.empty()) return toArray(info.Env(), reasons);
    backend.run(request.problem, CancelFlag{false});
    return info.Env().Undefined();
  }

  void cancel(const Napi::CallbackInfo& info) { flights_.cancel(info[0].ToNumber()); }

  // (numbers, views, tiles): the tiles of readTiles().
  Napi::Value explain(const Napi::CallbackInfo& info) {
    const AttentionRequest request = readShape(info);
    cpu::TileChoice choice = cpu::chooseTiles(request.problem);
    const bool isAsked = readTiles(info, request.problem, choice.rule);
    const Plan plan = tilewise::explain(request.problem, choice.rule);
    Napi::Object result = toObject(info.Env(), plan);
    result.Set("why", isAsked ? "" : choice.why);
    result.Set("reasons", toArray(info.Env(), backendAt(info.Env(), request.device).supports(request.problem)));
    return result;
  }
  // (numbers, views, boxes): what boxes of queries see, for pictures.
  Napi::Value sights(const Napi::CallbackInfo& info) {
    const AttentionRequest request = readShape(info);
    return toArray(info.Env(), readSights(info, request.problem));
  }

  Napi::Value listBackends(const Napi::CallbackInfo& info) {
    Napi::Array list = Napi::Array::New(info.Env(), backends().size());
    uint32_t i = 0;
    for (const Backend* backend : backends()) {
      const Availability availability = backend->availability();
      Napi::Object entry = Napi::Object::New(info.Env());
      entry.Set("name", backend->name());
      entry.Set("isAvailable", availability.isAvailable);
      entry.Set("reason", availability.reason);
      list.Set(i++, entry);
    }
    return list;
  }

  Napi::Value numThreads(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), cpu::numThreads()); }
  void setNumThreads(const Napi::CallbackInfo& info) { cpu::setNumThreads(info[0].ToNumber()); }

  Napi::Value instructionSets(const Napi::CallbackInfo& info) { return toArray(info.Env(), cpu::instructionSets()); }
  Napi::Value instructionSet(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), cpu::instructionSet());
  }
  Napi::Value setInstructionSet(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), cpu::setInstructionSet(info[0].ToString()));
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
