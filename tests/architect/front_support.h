// Models of short documents, for the tests of the architect's front half.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "architect/model/explain.h"
#include "architect/model/model.h"

namespace quoin::architect::testing {

inline constexpr std::string_view kImports =
    "import math\nimport torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"
    "import triton\nimport triton.language as tl\n";

/// A document whose reference is `forward_inputs` alone and whose kernel part is `code`.
inline Model model_of_code(const std::string& inputs, const std::string& code) {
  const std::string reference =
      std::string(kImports) +
      "class Model(nn.Module):\n    def forward(self, *xs):\n        return xs[0]\n"
      "def get_inputs():\n    return [" +
      inputs +
      "]\n"
      "def get_init_inputs():\n    return []\n";
  const auto document = document_of(reference, std::string(kImports) + code, "");
  EXPECT_TRUE(document.ok()) << (document.ok() ? "" : document.error().message);
  return document.ok() ? model_of(document.value()) : Model{};
}

/// ModelNew whose forward(self, x, y, ...) holds `body`.
inline Model forward_of(const std::string& inputs, const std::string& parameters,
                        const std::string& body, const std::string& before = "") {
  std::string code =
      before + "class ModelNew(nn.Module):\n    def forward(self, " + parameters + "):\n";
  std::size_t begin = 0;
  while (begin <= body.size()) {
    const std::size_t end = std::min(body.find('\n', begin), body.size());
    code += "        " + body.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  return model_of_code(inputs, code);
}

inline std::string lost_text(const Model& model) {
  std::string text;
  for (const NotUnderstood& lost : model.not_understood) {
    text += std::to_string(lost.line) + ": " + lost.what + "\n";
  }
  return text;
}

/// "float32[2, 3] float16[4]": what forward returns.
inline std::string outputs_of(const Model& model) {
  std::string text;
  for (const ValueId id : model.current.outputs) {
    text += (text.empty() ? "" : " ") + to_text(model.current.values[id]);
  }
  return text;
}

/// "matmul:linear elementwise:relu": the operations in order.
inline std::string operations_of(const Model& model) {
  std::string text;
  for (const Op& op : model.current.ops) {
    text += (text.empty() ? "" : " ") + std::string(name(op.kind)) + ":" + op.name;
  }
  return text;
}

/// The kernel of the only launch.
inline const Kernel& only_kernel(const Model& model) {
  static const Kernel empty;
  EXPECT_EQ(model.current.kernels.size(), 1U) << lost_text(model);
  return model.current.kernels.empty() ? empty : model.current.kernels[0];
}

inline const Op& first_launch(const Model& model) {
  static const Op empty;
  for (const Op& op : model.current.ops) {
    if (op.launch) return op;
  }
  ADD_FAILURE() << "no launch\n" << lost_text(model);
  return empty;
}

}  // namespace quoin::architect::testing
