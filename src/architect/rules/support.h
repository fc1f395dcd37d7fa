// What rules share: questions to a case, changed prices, and names and numbers as text.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "architect/rules/rule.h"

namespace quoin::architect {

// ------------------------------------------------------------------------------ questions

[[nodiscard]] const Op& op_at(const Program& program, OpId id);
[[nodiscard]] const Kernel* kernel_of(const Program& program, const Op& op);
[[nodiscard]] const Value* value_at(const Program& program, ValueId id);
[[nodiscard]] double device_share(const Case& about, OpId op);  // of the device time
[[nodiscard]] double device_time(const Case& about, OpId op);   // seconds, all executions
[[nodiscard]] std::vector<OpId> launches(const Program& program);
/// Copies, casts and elementwise steps over data that a call brings anew.
[[nodiscard]] bool is_pointwise(const Op& op);
/// A launch that only streams: no dots, and about as many outputs as inputs.
[[nodiscard]] bool streams(const Program& program, const Op& op);
/// The operation of the reference that this launch computes (same output, same weight), or -1.
[[nodiscard]] OpId reference_of(const Case& about, OpId launch);
[[nodiscard]] const Value* first_output(const Program& program, const Op& op);
/// The tensor behind an access of this launch: kernels are shared by launches, so by parameter.
[[nodiscard]] ValueId accessed(const Op& launch, const Access& access) noexcept;
[[nodiscard]] double output_bytes(const Program& program, const Op& op);

// --------------------------------------------------------------------------------- prices

/// Changes to a program's operations; those untouched keep their price.
class Changed {
 public:
  explicit Changed(const Case& about) : about_(about), ops_(about.current.ops) {}

  void drop(OpId op);
  void device(OpId op, cost::Seconds time);
  void add_device(OpId op, cost::Seconds time);
  void hand_to_library(OpId op, cost::Seconds device, cost::Seconds host);
  void kernel(OpId op, const cost::TiledKernel& kernel);

  [[nodiscard]] cost::Seconds total() const;
  [[nodiscard]] const OpPrice& price(OpId op) const { return ops_[static_cast<std::size_t>(op)]; }

 private:
  const Case& about_;
  std::vector<OpPrice> ops_;
};

/// Launches that a rule gives a new price, and the times of the slowest of them for its text.
class Repriced {
 public:
  explicit Repriced(const Case& about) : changed_(about) {}

  /// Whether this is the slowest so far, whose numbers the text tells.
  bool take(OpId id, const Op& op, double seconds);

  [[nodiscard]] bool none() const noexcept { return names_.empty(); }
  [[nodiscard]] Finding finding(Effort effort) const {
    return Finding::applied(changed_.total(), effort);
  }
  [[nodiscard]] double price(OpId id) const { return changed_.price(id).device.value; }
  [[nodiscard]] std::string who() const;     // "`a_kernel` (line 3) and `b_kernel` (line 9)"
  [[nodiscard]] std::string before() const;  // of the slowest: "2.4 ms"
  [[nodiscard]] std::string after() const;

 private:
  Changed changed_;
  std::vector<std::string> names_;
  double before_ = 0, after_ = 0;
};

// ----------------------------------------------------------------------------------- text

[[nodiscard]] std::string milliseconds(cost::Seconds time);  // "2.42 ms", "33 us"
[[nodiscard]] std::string bytes_text(double bytes);          // "268 MB"
[[nodiscard]] std::string percent(double share);             // "22%"
[[nodiscard]] std::string times(double factor);              // "3.4x"
[[nodiscard]] std::string shape_text(const Value& value);    // "float32[1024, 8192]"
[[nodiscard]] std::string shape_only(const Value& value);    // "[1024, 8192]"
[[nodiscard]] std::string value_name(const Program& program, ValueId id);
[[nodiscard]] std::string op_name(const Op& op);  // "`conv2d_fwd_kernel` (line 31)"
[[nodiscard]] std::string list_text(const std::vector<std::string>& names, std::size_t most = 3);
[[nodiscard]] std::string count_text(double count);  // "6,144"

}  // namespace quoin::architect
