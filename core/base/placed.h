// Placed: a pointer that says where it points, into the process's memory or into the device's that runs the call.
// Reader: whoever copies operands to a device. Everyone else uses it as the pointer that it is.
#pragma once

#include "platform.h"

namespace tilewise {

template <class T>
struct Placed {
  T* data = nullptr;
  bool isOnDevice = false;

  TW_HOST_DEVICE Placed(T* data_ = nullptr, bool isOnDevice_ = false) : data(data_), isOnDevice(isOnDevice_) {}
  TW_HOST_DEVICE operator T*() const { return data; }

  template <class U>
  TW_HOST_DEVICE Placed<U> as() const {
    return {static_cast<U*>(data), isOnDevice};
  }
};

}  // namespace tilewise
