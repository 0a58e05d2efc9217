// What prefill costs the kernels of linear attention and of the delta rule, counted on the emulated GPU: twice the
// tokens take twice the work, and states meet tokens in products of chunks. Reader: someone who changes a scan.
#include <string>
#include <vector>

#include "../../../cuda/operations.h"
#include "../../../emulator/local_machine.h"
#include "../../../emulator/registry.h"
#include "../check.h"

using namespace tilewise;

namespace {

constexpr int32_t kHeads = 2, kDim = 64;
constexpr double kPerProduct = 16 * 16 * 8;  // multiplications of an mma

// Runs calls and counts what their threads do.
class CountingMachine {
 public:
  CountingMachine()
      : machine_(emulator::makeLocalMachine(
            {},
            [this](const std::string& module, const std::string& name) {
              const emulator::Kernel* const kernel = emulator::findKernel(module, name);
              if (!kernel) return emulator::LocalKernel{};
              const auto run = [this, kernel](const emulator::Grid& grid, const emulator::Options& options,
                                              const void* params) {
                const emulator::Stats stats = emulator::launch(grid, options, [&] { kernel->run(params); });
                products += double(stats.products);
                switches += double(stats.switches);
              };
              return emulator::LocalKernel{kernel->threads, kernel->paramBytes, run};
            })),
        queue_(machine_->queue()) {}

  // Rows of [tokens][kHeads][kDim], each number 1/64.
  Operand rows(Token tokens) { return {numbers(int64_t(tokens) * kHeads * kDim), 0, kHeads * kDim, kDim, 1}; }
  float* numbers(int64_t count) {
    const std::vector<float> from(size_t(count), 1.0f / 64);
    void* const to = queue_->allocate(count * int64_t(sizeof(float)));
    queue_->upload(to, from.data(), count * int64_t(sizeof(float)));
    return static_cast<float*>(to);
  }
  template <class Problem>
  void run(const Problem& problem) {
    cuda::run(problem, machine_->limits(), *queue_, CancelFlag{false});
  }

  double products = 0, switches = 0;  // mma, and turns of threads

 private:
  std::unique_ptr<cuda::Machine> machine_;
  std::unique_ptr<cuda::Queue> queue_;
};

void runLinear(CountingMachine& machine, Token tokens) {
  cuda::StagedLinear staged;
  LinearProblem& p = staged.problem;
  p.batch = p.sequences = 1;
  p.queryHeads = p.kvHeads = kHeads;
  p.queries = p.keys = tokens;
  p.headDim = p.valueDim = kDim;
  for (Operand* const rows : {&p.query, &p.key, &p.value, &p.out}) *rows = machine.rows(tokens);
  machine.run(staged);
}

void runDelta(CountingMachine& machine, Token tokens) {
  DeltaProblem p;
  p.batch = p.sequences = 1;
  p.queryHeads = p.keyHeads = p.valueHeads = kHeads;
  p.tokens = tokens;
  p.headDim = p.valueDim = kDim;
  for (Operand* const rows : {&p.query, &p.key, &p.value, &p.out}) *rows = machine.rows(tokens);
  p.beta.data = machine.numbers(int64_t(tokens) * kHeads);
  p.beta.token = kHeads;
  p.beta.head = 1;
  machine.run(p);
}

void check(const char* name, void (*run)(CountingMachine&, Token)) {
  constexpr Token kTokens = 256;
  CountingMachine once, twice;
  run(once, kTokens);
  run(twice, 2 * kTokens);
  for (const auto& [what, few, many] :
       {std::tuple{"products", once.products, twice.products}, std::tuple{"turns", once.switches, twice.switches}}) {
    CHECK(few > 0 && many > 1.8 * few && many < 2.25 * few, "%s: %g %s of %d tokens, %g of twice as many", name, few,
          what, kTokens, many);
  }
  // Each token's part of reading the state and of changing it: where tokens went one by one there were none.
  const double least = 2.0 * kTokens * kHeads * kDim * kDim;
  CHECK(once.products * kPerProduct > least, "%s: %g multiplications in products, states alone are %g", name,
        once.products * kPerProduct, least);
}

}  // namespace

int main() {
  check("linear attention", runLinear);
  check("the delta rule", runDelta);
  return finish("what prefill costs");
}
