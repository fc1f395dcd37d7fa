// Sentences and ranges in the answer's form.
#pragma once

#include <string>
#include <string_view>

namespace quoin::architect {

/// Full stops that end a sentence: followed by a space or the end.
[[nodiscard]] int count_sentences(std::string_view text) noexcept;

/// At most `most` sentences, the last with a full stop; control characters and line breaks become
/// spaces.
[[nodiscard]] std::string sentences(std::string_view text, int most);

/// "30-40%"; from a factor of 2 on "2.1-2.8x".
[[nodiscard]] std::string speedup_range(double factor);

}  // namespace quoin::architect
