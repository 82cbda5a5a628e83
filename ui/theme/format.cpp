// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme/format.h"

#include <QDateTime>
#include <QLocale>
#include <QCoreApplication>

#include <cmath>

namespace luthier::ui::format {

namespace {

const QLocale& locale() {
    static const QLocale english(QLocale::English, QLocale::UnitedStates);
    return english;
}

/// Three significant figures, never scientific.
QString threeFigures(double value) {
    const double size = std::fabs(value);
    const int decimals = size >= 100 ? 0 : size >= 10 ? 1 : 2;
    return locale().toString(value, 'f', decimals);
}

}  // namespace

QString count(std::int64_t value) { return locale().toString(static_cast<qlonglong>(value)); }

QString shortCount(double value) {
    const double size = std::fabs(value);
    if (size < 1000) return locale().toString(value, 'f', 0);
    const auto scaled = [](double v) {
        return v >= 99.95   ? locale().toString(v, 'f', 0)
               : v >= 9.995 ? locale().toString(v, 'f', v >= 20 ? 0 : 1)
                            : locale().toString(v, 'f', v < 2 ? 2 : 1);
    };
    if (size < 999.5e3) return scaled(value / 1e3) + " K";
    if (size < 999.5e6) return scaled(value / 1e6) + " M";
    return scaled(value / 1e9) + " B";
}

QString bytes(double value) {
    static const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (std::fabs(value) >= 1000 && unit < 4) {
        value /= 1024;
        ++unit;
    }
    if (unit == 0) return locale().toString(value, 'f', 0) + " B";
    return threeFigures(value) + " " + units[unit];
}

QString gib(double value) {
    const double g = value / (1024.0 * 1024 * 1024);
    return locale().toString(g, 'f', g >= 100 ? 0 : g >= 20 ? 1 : 2);
}

QString percent(double share) {
    const double value = share * 100;
    const double size = std::fabs(value);
    if (size == 0) return "0 %";
    if (size >= 99.95) return locale().toString(value, 'f', 0) + " %";
    int decimals = size >= 10 ? 1 : size >= 1 ? 2 : 3;
    if (size < 0.1) decimals = 4;
    return locale().toString(value, 'f', decimals) + " %";
}

QString duration(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0) return QStringLiteral("–");
    const auto total = static_cast<qint64>(seconds + 0.5);
    const qint64 h = total / 3600, m = total / 60 % 60, s = total % 60;
    if (h > 0)
        return QStringLiteral("%1:%2:%3")
            .arg(h)
            .arg(m, 2, 10, QChar('0'))
            .arg(s, 2, 10, QChar('0'));
    return QStringLiteral("%1:%2").arg(m).arg(s, 2, 10, QChar('0'));
}

QString roughDuration(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0) return QStringLiteral("–");
    if (seconds < 90)
        return QCoreApplication::translate("format", "%1 s").arg(std::lround(seconds));
    if (seconds < 600)
        return QCoreApplication::translate("format", "%1 min %2 s")
            .arg(static_cast<int>(seconds / 60))
            .arg(static_cast<int>(seconds) % 60 / 10 * 10);
    if (seconds < 5400)
        return QCoreApplication::translate("format", "%1 min").arg(std::lround(seconds / 60));
    return QCoreApplication::translate("format", "%1 h %2 min")
        .arg(static_cast<int>(seconds / 3600))
        .arg(static_cast<int>(seconds) % 3600 / 60);
}

QString loss(double value) {
    if (std::isnan(value)) return QStringLiteral("–");
    if (std::isinf(value)) return value > 0 ? QStringLiteral("∞") : QStringLiteral("−∞");
    return locale().toString(value, 'f',
                             std::fabs(value) >= 100  ? 1
                             : std::fabs(value) >= 10 ? 2
                                                      : 3);
}

QString rate(double value) {
    if (value == 0) return "0";
    if (!std::isfinite(value)) return QStringLiteral("–");
    int exponent = static_cast<int>(std::floor(std::log10(std::fabs(value))));
    double mantissa = value / std::pow(10.0, exponent);
    mantissa = std::round(mantissa * 10) / 10;
    if (std::fabs(mantissa) >= 10) {
        mantissa /= 10;
        ++exponent;
    }
    if (exponent >= -2 && exponent < 2) return real(std::round(value * 1e4) / 1e4);
    return QStringLiteral("%1e%2").arg(QString::number(mantissa, 'g', 3)).arg(exponent);
}

QString real(double value) {
    if (value != 0 && std::fabs(value) < 1e-3) {
        const QString text = QString::number(value, 'e', QLocale::FloatingPointShortest);
        const int split = static_cast<int>(text.indexOf('e'));
        return text.left(split) + "e" + QString::number(text.mid(split + 1).toInt());
    }
    return QString::number(value, 'g', QLocale::FloatingPointShortest);
}

QString signedReal(double value, int decimals) {
    const QString digits = locale().toString(std::fabs(value), 'f', decimals);
    return (value < 0 ? QStringLiteral("−") : QStringLiteral("+")) + digits;
}

QString moment(const QDateTime& when) {
    if (!when.isValid()) return QStringLiteral("–");
    const qint64 days = when.date().daysTo(QDate::currentDate());
    if (days == 0) return locale().toString(when, "HH:mm");
    if (days > 0 && days < 7) return locale().toString(when, "dddd");
    return locale().toString(
        when, when.date().year() == QDate::currentDate().year() ? "d MMM" : "d MMM yyyy");
}

QString middleCut(const QString& text, int length) {
    if (text.size() <= length) return text;
    const int half = (length - 1) / 2;
    return text.left(half) + QStringLiteral("…") + text.right(length - 1 - half);
}

}  // namespace luthier::ui::format
