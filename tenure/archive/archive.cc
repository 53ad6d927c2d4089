#include "tenure/archive/archive.h"

#include <torch/csrc/export/pt2_archive_constants.h>

#include <algorithm>
#include <utility>

#include "tenure/archive/manifest.h"
#include "tenure/archive/records.h"
#include "tenure/archive/schema_reader.h"
#include "tenure/archive/weights.h"
#include "tenure/base/error.h"

namespace tenure {
namespace {

namespace names = torch::_export::archive_spec;

void check_format(const Records& records) {
  check(records.text(std::string(names::ARCHIVE_FORMAT_PATH)) == names::ARCHIVE_FORMAT_VALUE, ErrorCode::kBadFile,
        "a zip file of torch, but not a PT2 archive; save the program with torch.export.save or Program.save");
  const std::string version = records.text(std::string(names::ARCHIVE_VERSION_PATH));
  check(version == names::ARCHIVE_VERSION_VALUE, ErrorCode::kUnsupported, "the archive has version \"", version,
        "\", this version of Tenure reads \"", names::ARCHIVE_VERSION_VALUE, "\"; export the model again with torch 2.11");
  check(!records.has("byteorder") || records.text("byteorder") == "little", ErrorCode::kUnsupported,
        "the weights are not little-endian; save the program on a little-endian machine");
}

// The only model, or the one named "model".
std::string choose_model(const Records& records) {
  constexpr std::string_view kSuffix = ".json";
  std::vector<std::string> models;
  for (const std::string& record : records.names()) {
    if (!record.starts_with(names::MODELS_DIR) || !record.ends_with(kSuffix)) continue;
    const size_t begin = names::MODELS_DIR.size();
    models.push_back(record.substr(begin, record.size() - begin - kSuffix.size()));
  }
  check(!models.empty(), ErrorCode::kUnsupported,
        "the archive has no exported program (models/*.json); a compiled AOTInductor package alone cannot run: export the model");
  if (models.size() == 1) return models[0];
  if (std::find(models.begin(), models.end(), "model") != models.end()) return "model";
  std::string choices;
  for (const std::string& model : models) choices += (choices.empty() ? "" : ", ") + model;
  throw Error(ErrorCode::kUnsupported, concat("the archive has several models (", choices,
                                              ") and none is named \"model\"; save the one to run in an archive of its own"));
}

bool is_weight(GraphInput::Kind kind) {
  return kind == GraphInput::Kind::kParameter || kind == GraphInput::Kind::kBuffer || kind == GraphInput::Kind::kConstant;
}

// Each weight that the graph reads is there, with the dtype and sizes that the graph says.
void check_weights(const ProgramFile& file) {
  for (const GraphInput& input : file.graph.inputs) {
    if (!is_weight(input.kind)) continue;
    const auto found = file.weights.find(input.target);
    check(found != file.weights.end(), ErrorCode::kBadFile, "weight ", input.target, " is missing from the archive");
    const auto& meta = file.graph.value(input.value).meta;
    if (!meta) continue;
    const at::Tensor& weight = found->second;
    bool same = weight.scalar_type() == meta->dtype && weight.dim() == static_cast<int64_t>(meta->sizes.size());
    for (size_t d = 0; same && d < meta->sizes.size(); ++d) same = meta->sizes[d] == Expr(weight.size(static_cast<int64_t>(d)));
    check(same, ErrorCode::kBadFile, "weight ", input.target, " has another dtype or size than the graph says");
  }
}

// Each engine call names an engine of the manifest and has as many inputs and outputs as that.
void check_engine_calls(const ProgramFile& file) {
  for (const Node& node : file.graph.nodes) {
    if (node.kind != NodeKind::kEngine) continue;
    const auto engine = std::find_if(file.engines.begin(), file.engines.end(),
                                     [&](const EngineRecord& record) { return record.spec.name == node.target; });
    check(engine != file.engines.end(), ErrorCode::kBadFile, "node ", node.name, " calls engine ", node.target,
          ", which is not in ", kManifestRecord);
    check(engine->spec.inputs.size() == node.inputs.size() && engine->spec.outputs.size() == node.outputs.size(),
          ErrorCode::kBadFile, "node ", node.name, " calls engine ", node.target, " with ", node.inputs.size(), " inputs and ",
          node.outputs.size(), " outputs, but it has ", engine->spec.inputs.size(), " and ", engine->spec.outputs.size());
  }
}

ProgramFile read(std::shared_ptr<const ByteSource> source) {
  const Records records(std::move(source));
  check_format(records);
  const std::string name = choose_model(records);
  const std::string model_record = concat(names::MODELS_DIR, name, ".json");
  Model model = with_context([&] { return "record " + model_record; }, [&] { return read_model(records.text(model_record)); });
  ProgramFile file;
  file.graph = std::move(model.graph);
  file.in_spec = std::move(model.in_spec);
  file.out_spec = std::move(model.out_spec);
  file.weights = read_weights(records, name);
  file.has_manifest = records.has(kManifestRecord);
  if (file.has_manifest) {
    Manifest manifest = read_manifest(records);
    file.engines = std::move(manifest.engines);
    file.custom_op_libraries = std::move(manifest.custom_op_libraries);
  }
  records.check_unread();
  check_weights(file);
  check_engine_calls(file);
  return file;
}

}  // namespace

ProgramFile read_archive(const std::string& path) {
  return with_context([&] { return "file " + path; },
                      [&] {
                        ProgramFile file = read(open_file(path));
                        file.path = path;
                        return file;
                      });
}

ProgramFile read_archive(std::span<const char> bytes, const std::string& name) {
  return with_context([&] { return "file " + name; }, [&] { return read(view_memory(bytes)); });
}

}  // namespace tenure
