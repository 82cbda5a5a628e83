// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/export_records.h"

#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QJsonArray>
#include <QJsonDocument>

#include <algorithm>
#include <cmath>

namespace luthier::ui {

std::vector<ExportRecord> readExports(const QString& folder) {
    std::vector<ExportRecord> records;
    for (const QFileInfo& entry : QDir(folder).entryInfoList(QDir::Dirs | QDir::NoDotAndDotDot)) {
        QFile file(entry.absoluteFilePath() + "/luthier-export.json");
        if (!file.open(QIODevice::ReadOnly)) continue;
        ExportRecord record;
        record.path = entry.absoluteFilePath();
        record.certificate = QJsonDocument::fromJson(file.readAll()).object();
        record.format = record.certificate["format"].toString();
        record.run = record.certificate["run"].toString();
        record.written = QFileInfo(file).lastModified();
        for (const QJsonValue& each : record.certificate["files"].toArray())
            record.bytes += each["bytes"].toDouble();
        records.push_back(std::move(record));
    }
    std::sort(records.begin(), records.end(),
              [](const ExportRecord& a, const ExportRecord& b) { return a.written > b.written; });
    return records;
}

QString differenceText(double value) {
    if (std::isnan(value)) return QStringLiteral("–");
    if (value == 0) return QStringLiteral("0");
    return value < 1e-3 ? QString::number(value, 'e', 1).replace("e-0", "e-")
                        : QString::number(value, 'g', 3);
}

}  // namespace luthier::ui
