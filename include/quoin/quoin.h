// Everything public, in one include.
#pragma once

#include "quoin/device.h"  // IWYU pragma: export
#include "quoin/linear.h"  // IWYU pragma: export
#include "quoin/plan.h"    // IWYU pragma: export
#include "quoin/result.h"  // IWYU pragma: export
#include "quoin/tensor.h"  // IWYU pragma: export
