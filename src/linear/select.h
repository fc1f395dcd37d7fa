// Which backend a call uses, and why the others are out.
#pragma once

#include <string>
#include <string_view>

#include "device/cpu.h"
#include "linear/backends.h"
#include "quoin/result.h"

namespace quoin {

/// Why `backend` cannot run on `cpu`; empty where it can.
[[nodiscard]] std::string refusal(const Backend& backend, const Cpu& cpu);

/// The CPU's backend of that name; for an empty one that of the environment variable QUOIN_BACKEND;
/// where that is unset or empty too, the first of kBackends that this machine has.
[[nodiscard]] Result<const Backend*> select_backend(std::string_view name);

}  // namespace quoin
