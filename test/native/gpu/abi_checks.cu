// The driver's ABI as cuda/runtime/abi.h declares it, held against the toolkit's own cuda.h by the compiler. Nothing
// runs. Reader: someone whose new driver function does not compile here.
#include <cuda.h>

#include <type_traits>

#include "../../../cuda/runtime/abi.h"

namespace tilewise::cuda {

// Enumerations are passed as int, and ours are plain numbers where they are arguments.
template <class T>
struct Plain {
  using type = std::conditional_t<std::is_enum_v<T>, int, T>;
};
template <class T>
struct Plain<T*> {
  using type = typename Plain<T>::type*;
};
template <class T>
struct Plain<const T> {
  using type = const typename Plain<T>::type;
};
template <class Function>
struct Signature;
template <class R, class... Arguments>
struct Signature<R(Arguments...)> {
  using type = typename Plain<R>::type(typename Plain<Arguments>::type...);
};
template <class Ours, class Theirs>
constexpr bool isSame = std::is_same_v<typename Signature<Ours>::type, typename Signature<Theirs>::type>;

static_assert(sizeof(CUresult) == sizeof(int) && sizeof(Result) == sizeof(int));

#define TW_ROW(name, value, theirs) static_assert(int(Result::name) == int(theirs), #theirs);
TW_DRIVER_RESULTS(TW_ROW)
#undef TW_ROW

#define TW_ROW(name, value, theirs) static_assert(name == int(theirs), #theirs);
TW_DRIVER_NUMBERS(TW_ROW)
#undef TW_ROW

// cuda.h renames functions to their newest versions, in Api too.
#define TW_ROW(name, parameters) \
  static_assert(isSame<std::remove_pointer_t<decltype(Api::name)>, decltype(::name)>, #name);
TW_DRIVER_FUNCTIONS(TW_ROW)
#undef TW_ROW

static_assert(isSame<DriverGetVersion, decltype(::cuDriverGetVersion)>);
static_assert(isSame<GetProcAddress, decltype(::cuGetProcAddress_v2)>);

// The images are made by this toolkit, so its driver is what they need. A later toolkit of the same major version makes
// images that run there, too.
static_assert(CUDA_VERSION / 1000 == kDriverFloor.version / 1000);

}  // namespace tilewise::cuda
