// Quantities that cannot be mixed up: operations, bytes, seconds and their rates.
//
//   Seconds t = Ops{2.0 * m * n * k} / gops(1000);      // an Ops over an OpsPerSecond is Seconds
//   Seconds u = Bytes{n * k} / t;                       // does not compile: that is a rate
#pragma once

#include <compare>

namespace quoin::cost {

template <class Tag>
struct Quantity {
  double value = 0;

  friend constexpr auto operator<=>(const Quantity&, const Quantity&) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return {a.value + b.value}; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return {a.value - b.value}; }
  friend constexpr Quantity operator*(Quantity a, double by) { return {a.value * by}; }
  friend constexpr Quantity operator*(double by, Quantity a) { return {a.value * by}; }
  friend constexpr Quantity operator/(Quantity a, double by) { return {a.value / by}; }
  friend constexpr double operator/(Quantity a, Quantity b) { return a.value / b.value; }
};

using Ops = Quantity<struct OpsTag>;  // a multiply and an add are two
using Bytes = Quantity<struct BytesTag>;
using Seconds = Quantity<struct SecondsTag>;
using Hertz = Quantity<struct HertzTag>;
using OpsPerSecond = Quantity<struct OpsPerSecondTag>;
using BytesPerSecond = Quantity<struct BytesPerSecondTag>;

constexpr Seconds operator/(Ops work, OpsPerSecond rate) { return {work.value / rate.value}; }
constexpr Seconds operator/(Bytes work, BytesPerSecond rate) { return {work.value / rate.value}; }
constexpr OpsPerSecond operator/(Ops work, Seconds time) { return {work.value / time.value}; }
constexpr BytesPerSecond operator/(Bytes work, Seconds time) { return {work.value / time.value}; }

constexpr OpsPerSecond gops(double value) { return {value * 1e9}; }
constexpr OpsPerSecond tops(double value) { return {value * 1e12}; }
constexpr BytesPerSecond gigabytes_per_second(double value) { return {value * 1e9}; }
constexpr Seconds microseconds(double value) { return {value * 1e-6}; }
constexpr Bytes kibibytes(double value) { return {value * 1024}; }
constexpr Bytes mebibytes(double value) { return {value * 1024 * 1024}; }
constexpr Hertz gigahertz(double value) { return {value * 1e9}; }

constexpr Seconds max(Seconds a, Seconds b) { return a < b ? b : a; }

}  // namespace quoin::cost
