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
#include "../requests/request.h"
#include "device_buffer.h"

namespace tilewise {

// The flights of one environment (main thread or worker). All members run on its JavaScript thread, except what a
// backend's thread does when a call ends.
class Flights {
 public:
  explicit Flights(Napi::Env env);
  Flights(const Flights&) = delete;
  Flights& operator=(const Flights&) = delete;

  // Starts a call. `views` is held until the call has ended, which keeps the memory of its typed arrays alive.
  // Returns { id, done }; done resolves to whether the call ran to its end, and rejects when the backend failed.
  Napi::Value start(Napi::Env env, Backend& backend, Request request, Napi::Value views);

  // Runs `work` on a thread of its own, for what is neither a problem nor quick: transfers. `held` stays until its end.
  Napi::Value start(Napi::Env env, std::function<void()> work, Napi::Value views, Held held);

  // Asks a call to end early; unknown ids have ended already.
  void cancel(uint32_t id);

 private:
  struct Call {
    Call(Napi::Env env, Napi::Value held, Request&& r)
        : deferred(Napi::Promise::Deferred::New(env)),
          views(Napi::Persistent(held.As<Napi::Object>())),
          request(std::move(r)) {}
    uint32_t id = 0;
    CancelFlag cancel{false};
    Napi::Promise::Deferred deferred;
    Napi::ObjectReference views;
    Request request;
    std::exception_ptr error;
  };
  struct Running;

  using Submit = std::function<void(const CancelFlag&, Completion)>;
  static void onEnd(Napi::Env env, Napi::Function, Flights* self, Call* call);
  using Ended = Napi::TypedThreadSafeFunction<Flights, Call, &Flights::onEnd>;

  Napi::Value launch(Napi::Env env, std::unique_ptr<Call> call, const Submit& submit);
  void forget(Napi::Env env, uint32_t id);
  void drain();

  Ended ended_;
  std::shared_ptr<Running> running_;  // shared with backend threads
  std::unordered_map<uint32_t, std::unique_ptr<Call>> calls_;
  uint32_t nextId_ = 0;
};

}  // namespace tilewise
