// Fuzzes the .npy parser (cli/npy.h): any bytes give a layout inside the file or an error that
// names it, and what is accepted survives being written and parsed again. The corpus is also
// replayed by npy_test.cpp.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "cli/npy.h"

namespace {

using quoin::DataType;

void require(bool holds) {
  if (!holds) std::abort();
}

quoin::Result<quoin::cli::NpyLayout> parse(std::span<const std::byte> file) {
  constexpr std::array kAll = {DataType::int8, DataType::int32, DataType::float16,
                               DataType::bfloat16, DataType::float32};
  return quoin::cli::parse_npy(file, "fuzz.npy", kAll);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  const auto layout = parse(file);
  if (!layout) {
    const std::string& message = layout.error().message;
    require(message.starts_with("fuzz.npy: ") && message.size() < 1000);
    for (const char c : message) require(c >= ' ' && c <= '~');
    return 0;
  }
  require(layout->rank == 1 || layout->rank == 2);
  require(layout->shape[0] >= 0 && layout->shape[1] >= 0);
  require(layout->data_offset + layout->data_bytes == size);

  const quoin::ConstTensor tensor = quoin::BasicTensor<const void*>{
      nullptr, layout->type, layout->rank, layout->shape, {layout->shape[1], 1}};
  std::string copy = quoin::cli::npy_header(tensor);
  require(copy.size() % 64 == 0);
  copy.append(reinterpret_cast<const char*>(data) + layout->data_offset, layout->data_bytes);
  const auto again = parse(std::as_bytes(std::span(copy)));
  require(again.ok());
  require(again->type == layout->type && again->rank == layout->rank);
  require(again->shape == layout->shape && again->data_bytes == layout->data_bytes);
  return 0;
}
