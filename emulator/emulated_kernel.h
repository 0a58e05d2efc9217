// TW_KERNEL for the emulator: a function that runs as one thread, and a registration of it.
// Objects that only register are dropped from static libraries: link kernels as an OBJECT library.
#pragma once

#include <type_traits>

#include "registry.h"

#define TW_KERNEL(name, Params, threads, minBlocks)                                                                    \
  static_assert(sizeof(Params) <= 4096, #name ": parameters are limited to 4 KB");                                     \
  static_assert(std::is_trivially_copyable_v<Params>, #name ": parameters are copied byte by byte");                   \
  static_assert((threads) % 32 == 0 && (threads) * (minBlocks) <= 2048, #name ": more threads than a multiprocessor"); \
  static void name(const Params& p);                                                                                   \
  static const ::tilewise::emulator::Registration name##_registration(                                                 \
      __BASE_FILE__, #name, (threads), sizeof(Params),                                                                 \
      [](const void* params) { name(*static_cast<const Params*>(params)); });                                          \
  static void name(const Params& p)
