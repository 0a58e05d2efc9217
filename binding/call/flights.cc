// See flights.h.

#include "flights.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "../failures.h"
#include "../requests/reading.h"

namespace tilewise {

// How many calls backend threads still work on. A call leaves when its thread will not touch this environment again.
struct Flights::Running {
  std::mutex mutex;
  std::condition_variable changed;
  int count = 0;
  bool isOver = false;  // for the JavaScript thread alone: the environment has ended

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

// What a backend's thread says at the end of a call. Apart from the call, which may be gone when the JavaScript thread
// hears of it: Bun still hands these out when an environment has ended.
struct Flights::Ending {
  std::shared_ptr<Running> running;
  uint32_t id;
  std::exception_ptr error;
};

Flights::Flights(Napi::Env env)
    : isResizable_(env), ended_(Ended::New(env, "tilewise", 0, 1, this)), running_(std::make_shared<Running>()) {
  ended_.Unref(env);  // an idle addon does not keep the process alive
  // After the thread-safe function: hooks run in reverse order, and calls that end during drain() still report to it.
  env.AddCleanupHook([](Flights* self) { self->drain(); }, this);
}

Napi::Value Flights::launch(Napi::Env env, std::unique_ptr<Call> owned, const Submit& submit) {
  Call* call = owned.get();
  call->id = nextId_++;
  napi_value promise = nullptr;
  if (napi_create_promise(env, &call->deferred, &promise) != napi_ok) throw Napi::Error::New(env);
  Napi::Object flight = Napi::Object::New(env);
  flight.Set("id", Napi::Number::New(env, call->id));
  flight.Set("done", promise);
  if (calls_.empty()) ended_.Ref(env);
  calls_.emplace(call->id, std::move(owned));
  auto ending = std::make_unique<Ending>(Ending{running_, call->id, nullptr});
  running_->enter();
  try {
    submit(call->cancel, [ended = ended_, ending = ending.get()](std::exception_ptr error) {
      const std::shared_ptr<Running> running = ending->running;
      ending->error = std::move(error);
      if (ended.NonBlockingCall(ending) != napi_ok) delete ending;
      running->leave();
    });
    ending.release();  // to the call's end
  } catch (...) {
    running_->leave();
    forget(env, call->id);
    throw;
  }
  return flight;
}

Napi::Value Flights::start(Napi::Env env, Backend& backend, Request request, Napi::Value views) {
  LentMemory memory(env, views.As<Napi::Array>(), std::move(request.lent), isResizable_);
  auto call = std::make_unique<Call>(std::move(memory), std::move(request));
  const AnyProblem& problem = call->request.problem;
  return launch(env, std::move(call),
                [&](const CancelFlag& cancel, Completion done) { backend.submit(problem, cancel, std::move(done)); });
}

Napi::Value Flights::start(Napi::Env env, std::function<void()> work, Napi::Value view, Held held) {
  Request request;
  request.held.push_back(std::move(held));
  const Napi::Array views = Napi::Array::New(env, 1);
  views.Set(0u, view);
  const View lent = readView(env, view);
  LentMemory memory(env, views, {{0, lent.data, lent.bytes, lent.buffer}}, isResizable_);
  auto call = std::make_unique<Call>(std::move(memory), std::move(request));
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

void Flights::onEnd(Napi::Env env, Napi::Function, Flights* self, Ending* owned) {
  const std::unique_ptr<Ending> ending(owned);
  if (env == nullptr || ending->running->isOver) return;  // drain() has freed the call
  self->settle(env, *ending);
}

// Raw Node-API, whatever it answers: an environment that is being terminated answers with errors, and node-addon-api's
// classes, which throw, would end the process.
void Flights::settle(napi_env env, const Ending& ending) {
  const Call& call = *calls_.at(ending.id);
  const napi_deferred deferred = call.deferred;  // outlives the call
  napi_value error = nullptr, isComplete = nullptr;
  if (ending.error) {
    error = errorOf(env, ending.error);
  } else if (!call.cancel && !call.memory.isUnchanged(env)) {
    error = makeError(env, "ERR_TILEWISE_INVALID_TENSOR",
                      "The buffer of an input or of `out` was transferred or resized while the call ran, so that its "
                      "results mean nothing; wait for the call, or pass `copyInputs: true`",
                      napi_create_type_error);
  }
  napi_get_boolean(env, !call.cancel, &isComplete);
  forget(env, ending.id);
  if (error) {
    napi_reject_deferred(env, deferred, error);
  } else {
    napi_resolve_deferred(env, deferred, isComplete);
  }
}

void Flights::forget(napi_env env, uint32_t id) {
  calls_.erase(id);
  if (calls_.empty()) napi_unref_threadsafe_function(env, ended_);
}

// The environment ends: nobody will see these results. Their memory goes with it, so backend threads must be done
// first.
void Flights::drain() {
  for (auto& [id, call] : calls_) call->cancel = true;
  running_->waitForNone();
  running_->isOver = true;
  calls_.clear();
}

}  // namespace tilewise
