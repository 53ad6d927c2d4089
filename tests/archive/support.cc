#include "tests/archive/support.h"

#include <ATen/ATen.h>
#include <caffe2/serialize/inline_container.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include "tenure/graph/text.h"

namespace tenure::test {

std::string archive_path(const std::string& name) { return concat(TENURE_TEST_ARCHIVES, "/", name, ".pt2"); }

std::vector<char> archive_bytes(const std::string& name) {
  std::ifstream file(archive_path(name), std::ios::binary);
  if (!file) throw std::runtime_error("no archive " + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

namespace {

// Record name without the root folder -> content, in the archive's order.
std::vector<std::pair<std::string, std::string>> records_of(const std::vector<char>& archive) {
  std::istringstream stream(std::string(archive.begin(), archive.end()));
  caffe2::serialize::PyTorchStreamReader reader(&stream);
  std::vector<std::pair<std::string, std::string>> records;
  for (const std::string& name : reader.getAllRecords()) {
    const auto [data, size] = reader.getRecord(name);
    records.emplace_back(name, std::string(static_cast<const char*>(data.get()), size));
  }
  return records;
}

}  // namespace

std::vector<char> rewrite(const std::vector<char>& archive, const Changes& changes) {
  std::vector<char> out;
  {
    caffe2::serialize::PyTorchStreamWriter writer([&](const void* data, size_t n) {
      const char* bytes = static_cast<const char*>(data);
      out.insert(out.end(), bytes, bytes + n);
      return n;
    });
    for (const auto& [name, content] : records_of(archive)) {
      // The writer adds these itself.
      if (changes.contains(name) || name == ".data/version" || name == ".data/serialization_id" || name == "byteorder") continue;
      writer.writeRecord(name, content.data(), content.size());
    }
    for (const auto& [name, content] : changes) {
      if (content) writer.writeRecord(name, content->data(), content->size());
    }
    writer.writeEndOfFile();
  }
  return out;
}

std::string record_of(const std::vector<char>& archive, const std::string& record) {
  for (const auto& [name, content] : records_of(archive)) {
    if (name == record) return content;
  }
  throw std::runtime_error("no record " + record);
}

std::vector<char> replace_in(const std::vector<char>& archive, const std::string& record, const std::string& from,
                             const std::string& to) {
  std::string content = record_of(archive, record);
  const size_t at = content.find(from);
  if (at == std::string::npos) throw std::runtime_error(record + " does not contain " + from);
  content.replace(at, from.size(), to);
  return rewrite(archive, {{record, content}});
}

Error error_of_reading(const std::vector<char>& archive) {
  return error_of([&] { read_archive(archive, "test.pt2"); });
}

const Node& node_of(const Graph& graph, const std::string& target) {
  for (const Node& node : graph.nodes) {
    if (node.target == target) return node;
  }
  throw std::runtime_error("no node calls " + target);
}

const Argument& argument_of(const Node& node, const std::string& name) {
  for (const NamedArgument& input : node.inputs) {
    if (input.name == name) return input.value;
  }
  throw std::runtime_error(node.name + " has no argument " + name);
}

std::string name_of(const Graph& graph, const Argument& value) { return graph.value(value.value()).name; }

std::string fingerprint(const ProgramFile& file) {
  std::ostringstream out;
  out << to_text(file.graph) << file.in_spec << file.out_spec << file.has_manifest;
  for (const auto& [symbol, range] : file.graph.symbol_ranges)
    out << symbol << range.min.value_or(-1) << "," << range.max.value_or(-1);
  for (const auto& [name, tensor] : file.weights) {
    const at::Tensor content = tensor.contiguous();
    out << name << tensor.dtype() << tensor.sizes() << tensor.strides() << tensor.storage_offset();
    out << std::string(static_cast<const char*>(content.data_ptr()), content.nbytes());
  }
  for (const EngineRecord& engine : file.engines) {
    out << engine.spec.name << engine.spec.backend << std::string(engine.blob.begin(), engine.blob.end());
    for (const auto* bindings : {&engine.spec.inputs, &engine.spec.outputs}) {
      for (const Binding& binding : *bindings) {
        out << binding.name << binding.dtype << binding.aliases_input.value_or(99);
        for (const Expr& size : binding.sizes) out << size.to_string() << ",";
      }
    }
    for (const auto& [key, value] : engine.spec.options) out << key << value;
  }
  for (const std::string& library : file.custom_op_libraries) out << library;
  return out.str();
}

}  // namespace tenure::test
