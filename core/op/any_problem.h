// AnyProblem: a call of any operation. Reader: someone who adds an operation: its struct joins the list, and has
// isEmpty(), whether nothing is to be computed.
#pragma once

#include <variant>

#include "append.h"
#include "attention.h"
#include "cumulative.h"
#include "delta.h"
#include "encode.h"
#include "linear.h"
#include "local_linear.h"
#include "merge.h"
#include "rotary.h"
#include "selection.h"
#include "stats.h"
#include "summary.h"

namespace tilewise {

using AnyProblem =
    std::variant<AttentionProblem, SelectionProblem, MergeProblem, RotaryProblem, AppendProblem, LinearProblem,
                 CumulativeProblem, DeltaProblem, LocalLinearProblem, StatsProblem, SummaryProblem, EncodeProblem>;

}  // namespace tilewise
