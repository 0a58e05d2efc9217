// Calls in flight: started here, run by a backend's own threads, settled on the JavaScript thread they came from.
// Reader: someone who asks what happens on abort, on worker.terminate() or when the process ends. Not Node's thread
// pool: a few long attention calls would fill it and stop file access and DNS for the whole process.
#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>

#include "../../core/op/backend.h"
#include "../memory/device_buffer.h"
#include "../requests/request.h"
#include "lent_memory.h"

namespace tilewise {

// The flights of one environment (main thread or worker). All members run on its JavaScript thread, except what a
// backend's thread does when a call ends.
class Flights {
 public:
  explicit Flights(Napi::Env env);
  Flights(const Flights&) = delete;
  Flights& operator=(const Flights&) = delete;

  // Starts a call. `views` is held until the call has ended, and the memory of its typed arrays with it, unless
  // JavaScript transfers that. Returns { id, done }; done resolves to whether the call ran to its end, and rejects when
  // the backend failed or memory was transferred.
  Napi::Value start(Napi::Env env, Backend& backend, Request request, Napi::Value views);

  // Runs `work` on a thread of its own, for what is neither a problem nor quick: transfers. `view` and `held` stay
  // until its end.
  Napi::Value start(Napi::Env env, std::function<void()> work, Napi::Value view, Held held);

  // Asks a call to end early; unknown ids have ended already.
  void cancel(uint32_t id);

 private:
  struct Call {
    Call(LentMemory m, Request&& r) : memory(std::move(m)), request(std::move(r)) {}
    uint32_t id = 0;
    CancelFlag cancel{false};
    napi_deferred deferred = nullptr;
    LentMemory memory;
    Request request;
  };
  struct Running;
  struct Ending;

  using Submit = std::function<void(const CancelFlag&, Completion)>;
  static void onEnd(Napi::Env env, Napi::Function, Flights* self, Ending* ending);
  using Ended = Napi::TypedThreadSafeFunction<Flights, Ending, &Flights::onEnd>;

  Napi::Value launch(Napi::Env env, std::unique_ptr<Call> call, const Submit& submit);
  void settle(napi_env env, const Ending& ending);
  void forget(napi_env env, uint32_t id);
  void drain();

  ResizableTest isResizable_;
  Ended ended_;
  std::shared_ptr<Running> running_;  // shared with backend threads
  std::unordered_map<uint32_t, std::unique_ptr<Call>> calls_;
  uint32_t nextId_ = 0;
};

}  // namespace tilewise
