#include "architect/verdict/sentences.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quoin::architect {
namespace {

// The model's own error: a factor of 1.17 either way (tests/architect/back_corpus_test.cpp prints
// it).
constexpr double kSpread = 1.17;

bool ends_here(std::string_view text, std::size_t at) {
  return text[at] == '.' && (at + 1 == text.size() || text[at + 1] == ' ');
}

}  // namespace

int count_sentences(std::string_view text) noexcept {
  int count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) count += ends_here(text, i) ? 1 : 0;
  return count;
}

std::string sentences(std::string_view text, int most) {
  std::string clean;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool space = byte < 0x20 || byte == 0x7f || c == ' ';
    if (!space)
      clean += c;
    else if (!clean.empty() && clean.back() != ' ')
      clean += ' ';
  }
  while (!clean.empty() && clean.back() == ' ') clean.pop_back();
  if (clean.empty()) return clean;
  if (clean.back() != '.') clean += '.';
  int count = 0;
  for (std::size_t i = 0; i < clean.size(); ++i) {
    if (ends_here(clean, i) && ++count == most) return clean.substr(0, i + 1);
  }
  return clean;
}

std::string speedup_range(double factor) {
  if (factor >= 2) {
    const double low = factor / kSpread, high = factor * kSpread;
    if (factor >= 20) return fmt::format("{:.0f}-{:.0f}x", low, high);
    return fmt::format("{:.1f}-{:.1f}x", low, high);
  }
  const double gain = (factor - 1) * 100;
  // Fives read better than a precision that is not there.
  double low = 5 * std::floor(gain * 0.85 / 5), high = 5 * std::ceil(gain * 1.15 / 5);
  low = std::max(low, 5.0);
  if (high <= low) high = low + 5;
  return fmt::format("{:.0f}-{:.0f}%", low, high);
}

}  // namespace quoin::architect
