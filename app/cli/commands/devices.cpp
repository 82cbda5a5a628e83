// SPDX-License-Identifier: Apache-2.0
// devices: what there is to compute on, and whether this build can use it.
#include "command.h"

#include "train/devices.h"

namespace luthier::cli {

namespace {

std::string linesOf(const DeviceInfo& device) {
    std::string text =
        (device.id.empty() ? std::string("-") : device.id) + "  " + printable(device.name);
    if (device.cores > 0)
        text += ", " + std::to_string(device.cores) + (device.cores == 1 ? " core" : " cores");
    if (device.totalBytes > 0) text += ", " + bytesText(device.totalBytes);
    if (!device.capability.empty()) text += ", compute capability " + printable(device.capability);
    if (!device.driver.empty()) text += ", driver " + printable(device.driver);
    text += "\n";
    std::string features;
    for (const std::string& feature : device.features)
        features += (features.empty() ? "" : ", ") + feature;
    if (!features.empty()) text += "     " + features + "\n";
    if (!device.isUsable)
        text += "     not usable: " + printable(device.why) + " " + device.remedy + "\n";
    return text;
}

}  // namespace

Command devicesCommand() {
    return {[](CLI::App& app, Context& context) {
        CLI::App* command = app.add_subcommand(
            "devices", "What there is to compute on, and whether this build can use it");
        command->callback([&context] {
            context.run = [&context] {
                Json list = Json::array();
                std::string table;
                for (const DeviceInfo& device : listDevices(DeviceTrial::Product)) {
                    list.push_back(device.toJson());
                    table += linesOf(device);
                }
                report(context, Json{{"devices", list}}, table);
                return ExitCode::Done;
            };
        });
    }};
}

}  // namespace luthier::cli
