// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// One formatter for every number on screen: 4,505,600 · 0.408 % · 17.2 MiB ·
// 2:53 · 2e-4.

#include <QString>

#include <cstdint>

class QDateTime;

namespace luthier::ui::format {

QString count(std::int64_t value);               ///< 4,505,600
QString shortCount(double value);                ///< 4.5 M
QString bytes(double value);                     ///< 17.2 MiB
QString gib(double value);                       ///< 7.57, unit elsewhere
QString percent(double share);                   ///< three figures: 0.408 %
QString duration(double seconds);                ///< 4:54, 1:02:33
QString roughDuration(double seconds);           ///< about: 7 min 30 s
QString loss(double value);                      ///< 0.655; "–" when there is none
QString rate(double value);                      ///< 2e-4
QString real(double value);                      ///< shortest that reads back the same
QString signedReal(double value, int decimals);  ///< +0.033 with a true minus sign
QString moment(const QDateTime& when);           ///< 13:58, Monday, 24 Aug
QString middleCut(const QString& text, int length);

}  // namespace luthier::ui::format
