// See flights.h.

#include "flights.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "../requests/reading.h"
#include "failures.h"

namespace tilewise {
namespace {

// Views on resizable buffers could lose their memory while the call runs. A synchronous call cannot be interrupted by a
// resize.
void refuseResizable(Napi::Env env, const Napi::Value& views) {
  const Napi::Array array = views.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value view = array.Get(i);
    if (!view.IsObject()) continue;
    const Napi::Value buffer = view.As<Napi::Object>().Get("buffer");
    if (buffer.IsObject() && buffer.As<Napi::Object>().Get("resizable").ToBoolean()) {
      refuse(env, "a view lies in a resizable buffer");
    }
  }
}

}  // namespace

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

Napi::Value Flights::start(Napi::Env env, Backend& backend, Request request, Napi::Value views) {
  refuseResizable(env, views);
  auto call = std::make_unique<Call>(env, views, std::move(request));
  const AnyProblem& problem = call->request.problem;
  return launch(env, std::move(call),
                [&](const CancelFlag& cancel, Completion done) { backend.submit(problem, cancel, std::move(done)); });
}

Napi::Value Flights::start(Napi::Env env, std::function<void()> work, Napi::Value views, Held held) {
  Request request;
  request.held.push_back(std::move(held));
  auto call = std::make_unique<Call>(env, views, std::move(request));
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
