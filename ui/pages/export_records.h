// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What has been exported: every folder under an exports folder whose luthier-export.json says what
// was compared. Files on disk are the record, so an export made by luthier-cli shows up like one
// made here, and a deleted one is gone.

#include <QDateTime>
#include <QJsonObject>
#include <QString>

#include <limits>
#include <vector>

namespace luthier::ui {

struct ExportRecord {
    QString path, format, run;
    QDateTime written;
    double bytes = 0;
    QJsonObject certificate;
    bool passed() const { return certificate["passed"].toBool(); }

    double difference() const { return certificate["max_abs_difference"].toDouble(kNoDifference); }
    double allowed() const { return certificate["tolerance"].toDouble(kNoDifference); }

private:
    static constexpr double kNoDifference = std::numeric_limits<double>::quiet_NaN();
};

/// A difference of logits or weights in three digits; a dash where none was measured.
QString differenceText(double value);

/// Newest first; any thread.
std::vector<ExportRecord> readExports(const QString& folder);

}  // namespace luthier::ui
