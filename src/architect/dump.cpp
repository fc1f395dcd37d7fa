// quoin_architect_dump FILE...: the kernel model of documents as text, for debugging.
//   -q: one line a document: operations, launches, what was not understood, time taken.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "architect/model/explain.h"
#include "architect/model/model.h"

namespace {

using namespace quoin::architect;

int dump(const char* path, bool quiet) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  const auto begin = std::chrono::steady_clock::now();
  const auto document = read_document(text.str());
  if (!document) {
    std::fprintf(stderr, "%s: %s\n", path, document.error().message.c_str());
    return 2;
  }
  const Model model = model_of(document.value());
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  if (!quiet) {
    std::fputs(to_text(model).c_str(), stdout);
    return 0;
  }
  std::size_t launches = 0;
  for (const Op& op : model.current.ops) launches += op.launch.has_value() ? 1 : 0;
  std::printf(
      "%-70s %4zu ops %3zu launches %2zu kernels, reference %4zu ops, %s, %zu lost, %.2f ms\n",
      path, model.current.ops.size(), launches, model.current.kernels.size(),
      model.reference.ops.size(), model.outputs_match ? "match" : "DIFFER",
      model.not_understood.size(), took.count());
  for (const NotUnderstood& lost : model.not_understood) {
    std::printf("    line %d%s: %s\n", lost.line, lost.reference ? " (reference)" : "",
                lost.what.c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  bool quiet = false;
  int worst = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "-q") == 0) {
      quiet = true;
      continue;
    }
    const int code = dump(argv[i], quiet);
    worst = code > worst ? code : worst;
  }
  return worst;
}
