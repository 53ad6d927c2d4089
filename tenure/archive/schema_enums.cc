#include "tenure/archive/schema_enums.h"

#include <limits>

#include "tenure/archive/foreign_error.h"

namespace tenure {

at::ScalarType dtype_of_schema(int64_t number) {
  switch (number) {
    case 1: return at::ScalarType::Byte;
    case 2: return at::ScalarType::Char;
    case 3: return at::ScalarType::Short;
    case 4: return at::ScalarType::Int;
    case 5: return at::ScalarType::Long;
    case 6: return at::ScalarType::Half;
    case 7: return at::ScalarType::Float;
    case 8: return at::ScalarType::Double;
    case 9: return at::ScalarType::ComplexHalf;
    case 10: return at::ScalarType::ComplexFloat;
    case 11: return at::ScalarType::ComplexDouble;
    case 12: return at::ScalarType::Bool;
    case 13: return at::ScalarType::BFloat16;
    case 28: return at::ScalarType::UInt16;
    case 29: return at::ScalarType::Float8_e4m3fn;
    case 30: return at::ScalarType::Float8_e5m2;
    case 31: return at::ScalarType::Float8_e4m3fnuz;
    case 32: return at::ScalarType::Float8_e5m2fnuz;
    default:
      throw Error(ErrorCode::kUnsupported, concat("dtype number ", number, " of the PT2 schema is not known to this version"));
  }
}

at::Layout layout_of_schema(int64_t number) {
  switch (number) {
    case 1: return at::Layout::Sparse;
    case 2: return at::Layout::SparseCsr;
    case 3: return at::Layout::SparseCsc;
    case 4: return at::Layout::SparseBsr;
    case 5: return at::Layout::SparseBsc;
    case 6: return at::Layout::Mkldnn;
    case 7: return at::Layout::Strided;
    default:
      throw Error(ErrorCode::kUnsupported, concat("layout number ", number, " of the PT2 schema is not known to this version"));
  }
}

at::MemoryFormat memory_format_of_schema(int64_t number) {
  switch (number) {
    case 1: return at::MemoryFormat::Contiguous;
    case 2: return at::MemoryFormat::ChannelsLast;
    case 3: return at::MemoryFormat::ChannelsLast3d;
    case 4: return at::MemoryFormat::Preserve;
    default:
      throw Error(ErrorCode::kUnsupported,
                  concat("memory format number ", number, " of the PT2 schema is not known to this version"));
  }
}

at::Device device_of_schema(const std::string& type, std::optional<int64_t> index) {
  return foreign_errors_as_bad_file([&] {
    // Only the type: "cuda:1" as a type is no schema.
    check(!type.empty() && type.find(':') == std::string::npos, ErrorCode::kBadFile, "\"", type, "\" is not a device type");
    const at::Device device(type);
    if (!index) return device;
    check(*index >= 0 && *index <= std::numeric_limits<at::DeviceIndex>::max(), ErrorCode::kBadFile, "device index ", *index,
          " is out of range");
    return at::Device(device.type(), static_cast<at::DeviceIndex>(*index));
  });
}

}  // namespace tenure
