// Any bytes as a document: an error or a verdict in the answer's form, never a crash, a hang or an
// exception.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "architect/model/model.h"
#include "architect/source/document.h"
#include "architect/verdict/sentences.h"
#include "architect/verdict/verdict.h"
#include "cost/devices.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quoin::architect;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto document = read_document(text);
  if (!document) {
    if (document.error().message.empty()) std::abort();
    return 0;
  }
  const Model model = model_of(document.value());
  const quoin::cost::GpuDevice& gpu = *quoin::cost::find_gpu("h100-sxm");
  const Verdict verdict = judge(model, gpu);
  const auto answer = nlohmann::ordered_json::parse(to_json(verdict), nullptr, false);
  if (answer.is_discarded() || answer.size() != 6) std::abort();
  if (count_sentences(verdict.reason) != 1) std::abort();
  if (verdict.worth && (verdict.plan.empty() || verdict.speedup.empty())) std::abort();
  if (!verdict.worth && !verdict.speedup.empty()) std::abort();
  (void)explain(verdict, model, gpu);
  (void)model_json(verdict, model, gpu);
  return 0;
}
