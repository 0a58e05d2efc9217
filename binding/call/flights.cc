// See flights.h.

#include "flights.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "failures.h"

namespace tilewise {

// How many calls backend threads still work on. A call leaves when its thread will not touch this environment again.
struct Flights::Running {
  std::mutex mutex;
  std::condition_variable changed;
  int count = 0;

  void enter() {
    const std::lock_guard<std::mutex> lock(mutex);
    ++count;
  }
  void leave() {
    const std::lock_guard<std::mutex> lock(mutex);
    --count;
    changed.notify_all();
  }
  void waitForNone() {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return count == 0; });
  }
};

Flights::Flights(Napi::Env env)
    : ended_(Ended::New(env, "tilewise", 0, 1, this)), running_(std::make_shared<Running>()) {
  ended_.Unref(env);  // an idle addon does not keep the process alive
  // After the thread-safe function: hooks run in reverse order, and calls that end during drain() still report to it.
  env.AddCleanupHook([](Flights* self) { self->drain(); }, this);
}

Napi::Value Flights::launch(Napi::Env env, std::unique_ptr<Call> owned, const Submit& submit) {
  Call* call = owned.get();
  call->id = nextId_++;
  Napi::Object flight = Napi::Object::New(env);
  flight.Set("id", Napi::Number::New(env, call->id));
  flight.Set("done", call->deferred.Promise());
  if (calls_.empty()) ended_.Ref(env);
  calls_.emplace(call->id, std::move(owned));
  running_->enter();
  try {
    submit(call->cancel, [running = running_, ended = ended_, call](std::exception_ptr error) {
      call->error = std::move(error);
      ended.NonBlockingCall(call);
      running->leave();
    });
  } catch (...) {
    running_->leave();
    forget(env, call->id);
    throw;
  }
  return flight;
}

Napi::Value Flights::start(Napi::Env env, std::function<void()> work, Napi::Value views, Held held) {
  auto call = std::make_unique<TypedCall<Held>>(env, views, std::move(held));
  return launch(env, std::move(call), [&](const CancelFlag&, Completion done) {
    std::thread([work = std::move(work), done = std::move(done)] {
      std::exception_ptr error;
      try {
        work();
      } catch (...) {
        error = std::current_exception();
      }
      done(std::move(error));
    }).detach();
  });
}

void Flights::cancel(uint32_t id) {
  if (const auto found = calls_.find(id); found != calls_.end()) found->second->cancel = true;
}

void Flights::onEnd(Napi::Env env, Napi::Function, Flights* self, Call* call) {
  if (env == nullptr) return;  // the environment is gone, and drain() has freed the call
  const Napi::Promise::Deferred deferred = call->deferred;
  const bool isComplete = !call->cancel;
  const std::exception_ptr error = call->error;
  self->forget(env, call->id);
  if (!error) return deferred.Resolve(Napi::Boolean::New(env, isComplete));
  deferred.Reject(errorOf(env, error).Value());
}

void Flights::forget(Napi::Env env, uint32_t id) {
  calls_.erase(id);
  if (calls_.empty()) ended_.Unref(env);
}

// The environment ends: nobody will see these results. Their memory goes with it, so backend threads must be done
// first.
void Flights::drain() {
  for (auto& [id, call] : calls_) call->cancel = true;
  running_->waitForNone();
  calls_.clear();
}

}  // namespace tilewise
