// TileMap: which token and which head each row of a query tile is. Reader: someone writing a loop.
// Rows of a tile are (token, head) pairs: all query heads that share a KV head may be in one tile, so that few tokens
// still fill it and each key is read once for the group (GQA, MQA, SQA).
#pragma once

#include "box.h"

namespace tilewise {

struct TileMap {
  int32_t firstHead = 0;
  int32_t headsPerToken = 1;

  struct Row {
    Token token;
    int32_t head;
  };

  TW_HOST_DEVICE Row at(int64_t row) const {
    if (headsPerToken == 1) return {Token(row), firstHead};
    return {Token(row / headsPerToken), firstHead + int32_t(row % headsPerToken)};
  }
  // The heads of so many such maps that follow each other.
  TW_HOST_DEVICE Range heads(int32_t maps = 1) const { return {firstHead, firstHead + maps * headsPerToken}; }
  // The map of the KV head `n` places on: its query heads follow those of this one.
  TW_HOST_DEVICE TileMap next(int32_t n) const { return {firstHead + n * headsPerToken, headsPerToken}; }
  TW_HOST_DEVICE int64_t rows(Token tokens) const { return int64_t(tokens) * headsPerToken; }
};

}  // namespace tilewise
