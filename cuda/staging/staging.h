// Staging: a problem with arrays on the host becomes one whose arrays are all on the device.
// Reader: someone who asks what is copied for a call. Arrays that say that they are on the device are used as they are,
// but for rows of another type than kernels read: the device converts these before the problem runs.
// Copies of host operands are laid out as cuda/staging/packing.h says, with rows that begin at multiples of 16 bytes;
// results come back by deliver(), and only elements that the problem addresses and the call computes are written.
#pragma once

#include <initializer_list>
#include <optional>
#include <vector>

#include "../../core/base/dtype.h"
#include "../../core/base/operand.h"
#include "../../core/base/placed.h"
#include "../../core/op/append.h"
#include "../../core/store/key_store.h"
#include "../../core/store/pages_in_use.h"
#include "../machine/machine.h"
#include "packing.h"

namespace tilewise::cuda {

// The operands of one call on the device; each op's stage() names them. An input becomes itself or a copy, an output
// itself or room for what deliver() brings back, and strides become those of the copy. The queue owns the copies.
class Staging {
 public:
  explicit Staging(Queue& queue) : queue_(queue) {}

  // An array's axes with pointers to their strides.
  using Axes = std::vector<OperandAxis>;
  // How a copy is laid out: rows begin at multiples of `rowAlignment` bytes; `isRowDense` as in packing.h.
  struct Form {
    int64_t elementBytes, rowAlignment;
    bool isRowDense;
    Widening widening = Widening::none;
  };
  static constexpr int64_t kRowAlignment = 16;  // kernels load rows 16 bytes at a time

  template <class T>
  void input(Placed<T>& array, const Axes& axes, const Form& form) {
    array = {static_cast<T*>(copyOf(array.data, array.isOnDevice, axes, form)), true};
  }
  template <class T>
  void output(Placed<T>& array, const Axes& axes, const Form& form) {
    array = {static_cast<T*>(roomFor(array.data, array.isOnDevice, axes, form, false)), true};
  }
  // An output of which a call may leave parts as they are.
  template <class T>
  void update(Placed<T>& array, const Axes& axes, const Form& form) {
    array = {static_cast<T*>(roomFor(array.data, array.isOnDevice, axes, form, true)), true};
  }

  // The type of elements as they are given, and as kernels read them: another one is float32.
  struct Types {
    DType given, read;
    Types(DType both) : given(both), read(both) {}
    Types(DType given_, DType read_) : given(given_), read(read_) {}
  };
  // Rows of [batch, tokens, heads, dim].
  void input(Operand& rows, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, Types types);
  // Keys, or keys and values, of a store. Of a pool that is on the device in another type only the pages in use are
  // copied, and the store's table names the copies.
  struct InUse {
    int64_t batch;
    int32_t sequences;
    Token keys;  // of the longest
    const int32_t *lengths, *starts;  // as those of PagesInUse
  };
  struct Stored {
    Operand* rows;
    int64_t dim;
  };
  void inputStored(KeyStore& store, const InUse& inUse, std::initializer_list<Stored> all, int64_t heads, Types types);
  // What a store has codes of, as far as sequences refer to it; then its codes are on the device too.
  void inputCodes(KeyStore& store, int32_t sequences);
  void output(Operand& rows, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, DType type);

  template <class T>
  void inputList(Placed<T>& list, int64_t count) {
    int64_t stride = 1;
    input(list, {{count, &stride}}, {sizeof(T), sizeof(T), true});
  }
  template <class T>
  void outputList(Placed<T>& list, int64_t count) {
    int64_t stride = 1;
    output(list, {{count, &stride}}, {sizeof(T), sizeof(T), true});
  }
  // A list that is always on the host.
  template <class T>
  void inputList(const T*& list, int64_t count) {
    Placed<const T> placed = list;
    inputList(placed, count);
    list = placed;
  }

  // Copies of rows on the device that the device makes before the problem runs.
  const std::vector<AppendProblem>& conversions() const { return conversions_; }

  // Waits for the queue, then writes the results that belong on the host.
  void deliver();

 private:
  struct Result {
    Packing packing;
    void* host;
    const void* device;
  };

  void* copyOf(const void* data, bool isOnDevice, const Axes& axes, const Form& form);
  void* roomFor(void* data, bool isOnDevice, const Axes& axes, const Form& form, bool isUpdate);
  void upload(const Packing& packing, const void* host, void* device);
  void convert(Operand& rows, int64_t batch, int64_t tokens, int64_t heads, int64_t dim, Types types,
               const std::vector<int32_t>& slots, int64_t copies);

  Queue& queue_;
  std::vector<Result> results_;
  std::vector<AppendProblem> conversions_;
  std::optional<PagesInUse> pages_;
  std::vector<char> buffer_;
};

}  // namespace tilewise::cuda
