#include "tenure/archive/weights.h"

#include <ATen/ops/empty.h>
#include <c10/core/Storage.h>
#include <torch/csrc/export/pt2_archive_constants.h>

#include <optional>
#include <utility>
#include <vector>

#include "tenure/archive/foreign_error.h"
#include "tenure/archive/json_text.h"
#include "tenure/archive/schema_enums.h"

namespace tenure {
namespace {

namespace names = torch::_export::archive_spec;
using nlohmann::json;
using Weights = std::map<std::string, at::Tensor>;

// How a tensor lies in its storage; sizes, strides and offset in elements.
struct Extent {
  at::ScalarType dtype;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
  int64_t offset;
};

int64_t read_static(const json& size) {
  check(size.contains("as_int"), ErrorCode::kBadFile, "its size is not a number: ", size.dump());
  const auto value = size.at("as_int").get<int64_t>();
  check(value >= 0, ErrorCode::kBadFile, "it has a negative size, stride or offset: ", value);
  return value;
}

std::vector<int64_t> read_statics(const json& sizes) {
  std::vector<int64_t> values;
  for (const json& size : sizes) values.push_back(read_static(size));
  return values;
}

Extent read_extent(const json& meta) {
  check(layout_of_schema(meta.at("layout").get<int64_t>()) == at::Layout::Strided, ErrorCode::kUnsupported,
        "sparse weights and other layouts that are not strided cannot be read");
  Extent extent{dtype_of_schema(meta.at("dtype").get<int64_t>()), read_statics(meta.at("sizes")), read_statics(meta.at("strides")),
                read_static(meta.at("storage_offset"))};
  check(extent.sizes.size() == extent.strides.size(), ErrorCode::kBadFile, "it has ", extent.sizes.size(), " sizes but ",
        extent.strides.size(), " strides");
  return extent;
}

// Bytes from the start of the storage to the end of the tensor's last element; nullopt if that overflows 64 bits, or if the tensor
// has more elements than 64 bits count (strides may be 0).
std::optional<uint64_t> bytes_needed(const Extent& extent) {
  const auto item = static_cast<int64_t>(c10::elementSize(extent.dtype));
  int64_t elements = 1, last = extent.offset;
  bool empty = false, overflow = false;
  for (size_t d = 0; d < extent.sizes.size(); ++d) {
    if (extent.sizes[d] == 0) {
      empty = true;
      continue;
    }
    int64_t reach = 0;
    overflow |= __builtin_mul_overflow(elements, extent.sizes[d], &elements);
    overflow |= __builtin_mul_overflow(extent.sizes[d] - 1, extent.strides[d], &reach);
    overflow |= __builtin_add_overflow(last, reach, &last);
  }
  int64_t ignored = 0, bytes = 0;
  overflow |= __builtin_mul_overflow(elements, item, &ignored);
  overflow |= __builtin_add_overflow(last, empty ? 0 : 1, &bytes);
  overflow |= __builtin_mul_overflow(bytes, item, &bytes);
  if (overflow) return std::nullopt;
  return empty ? 0 : static_cast<uint64_t>(bytes);
}

// Reads the tensors of one folder (weights or constants); each record becomes one storage.
class Folder {
 public:
  Folder(const Records& records, std::string_view path) : records_(records), path_(path) {}

  void read(const std::string& config_record, Weights& weights) {
    with_context([&] { return "record " + config_record; },
                 [&] {
                   const json file = parse_json(records_.text(config_record));
                   foreign_errors_as_bad_file([&] {
                     for (const auto& [name, payload] : file.at("config").items()) {
                       at::Tensor tensor = with_context([&] { return "tensor " + name; }, [&] { return read_tensor(payload); });
                       check(weights.emplace(name, std::move(tensor)).second, ErrorCode::kBadFile, "tensor ", name,
                             " is there twice");
                     }
                   });
                 });
  }

 private:
  at::Tensor read_tensor(const json& payload) {
    const auto file = payload.at("path_name").get<std::string>();
    check(!payload.at("use_pickle").get<bool>(), ErrorCode::kUnsupported, "it is pickled (", file,
          "), and nothing pickled is read; keep plain tensors in the model, no tensor subclasses or script objects, and save it "
          "again");
    const Extent extent = read_extent(payload.at("tensor_meta"));
    const std::string record = path_ + file;
    const auto needed = bytes_needed(extent);
    check(needed && *needed <= records_.size(record), ErrorCode::kBadFile, "it reaches beyond its record ", record, " of ",
          records_.size(record), " bytes");
    at::Tensor tensor = at::empty({0}, at::TensorOptions().dtype(extent.dtype));
    tensor.set_(storage(record), extent.offset, extent.sizes, extent.strides);
    return tensor;
  }

  c10::Storage storage(const std::string& record) {
    auto found = storages_.find(record);
    if (found == storages_.end()) {
      c10::Storage storage(c10::Storage::use_byte_size_t(), records_.size(record), records_.data(record), nullptr, false);
      found = storages_.emplace(record, std::move(storage)).first;
    }
    return found->second;
  }

  const Records& records_;
  std::string path_;
  std::map<std::string, c10::Storage> storages_;
};

std::string config_name(std::string_view format, const std::string& model_name) {
  return std::string(format).replace(format.find("{}"), 2, model_name);
}

}  // namespace

std::map<std::string, at::Tensor> read_weights(const Records& records, const std::string& model_name) {
  for (const std::string_view folder : {names::WEIGHTS_DIR, names::CONSTANTS_DIR}) {
    const std::string legacy = concat(folder, model_name, ".pt");
    check(!records.has(legacy), ErrorCode::kUnsupported, "record ", legacy,
          " is a pickle of an older torch, and nothing pickled is read; load the program with torch.export.load and save it again");
  }
  Weights weights;
  Folder(records, names::WEIGHTS_DIR).read(config_name(names::WEIGHTS_CONFIG_FILENAME_FORMAT, model_name), weights);
  Folder(records, names::CONSTANTS_DIR).read(config_name(names::CONSTANTS_CONFIG_FILENAME_FORMAT, model_name), weights);
  return weights;
}

}  // namespace tenure
