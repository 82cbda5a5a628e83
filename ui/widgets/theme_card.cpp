// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/theme_card.h"

#include "theme/icons.h"

#include <QPainter>
#include <QPainterPath>

#include <cmath>

namespace luthier::ui {

namespace {

void drawWindow(QPainter& p, const QRectF& area, const Tokens& t) {
    p.fillRect(area, t.bg1);
    p.fillRect(QRectF(area.left(), area.top(), 14, area.height()), t.bg0);
    p.fillRect(QRectF(area.left(), area.top(), area.width(), 14), t.bg0);
    p.fillRect(QRectF(area.left() + 14, area.top(), 1, area.height()), t.line);
    p.fillRect(QRectF(area.left() + 14, area.top() + 14, area.width(), 1), t.line);
    p.setPen(Qt::NoPen);
    p.setBrush(t.acc);
    p.drawRoundedRect(QRectF(area.left() + 3, area.top() + 4, 8, 8), 2, 2);
    p.setBrush(t.fill);
    p.drawRoundedRect(QRectF(area.right() - 40, area.top() + 24, 32, 9), 2, 2);
    const QRectF plot(area.left() + 24, area.top() + 28, area.width() - 34, area.height() - 40);
    p.fillRect(QRectF(plot.left(), plot.bottom() + 2, plot.width(), 1), t.line2);
    for (int run = 0; run < 2; ++run) {
        QPainterPath path;
        for (int i = 0; i <= 24; ++i) {
            const double share = i / 24.0, fall = run == 0 ? std::exp(-5 * share)
                                                           : 0.25 + 0.75 * std::exp(-3 * share);
            const QPointF at(plot.left() + plot.width() * share,
                             plot.bottom() - plot.height() * fall * 0.92);
            i == 0 ? path.moveTo(at) : path.lineTo(at);
        }
        p.setBrush(Qt::NoBrush);
        p.setPen(QPen(t.runs[static_cast<std::size_t>(run)], 1.6));
        p.drawPath(path);
    }
}

double toLinear(double value) {
    return value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
}
double fromLinear(double value) {
    value = std::clamp(value, 0.0, 1.0);
    return value <= 0.0031308 ? value * 12.92 : 1.055 * std::pow(value, 1 / 2.4) - 0.055;
}

}  // namespace

QColor simulated(const QColor& color, ColorVision vision) {
    if (vision == ColorVision::Full) return color;
    static constexpr double kMatrices[3][9] = {{0.367322, 0.860646, -0.227968, 0.280085, 0.672501,
                                                0.047413, -0.011820, 0.042940, 0.968881},
                                               {0.152286, 1.052583, -0.204868, 0.114503, 0.786281,
                                                0.099216, -0.003882, -0.048116, 1.051998},
                                               {1.255528, -0.076749, -0.178779, -0.078411, 0.930809,
                                                0.147602, 0.004733, 0.691367, 0.303900}};
    const double* m = kMatrices[static_cast<int>(vision) - 1];
    const double rgb[3] = {toLinear(color.redF()), toLinear(color.greenF()),
                           toLinear(color.blueF())};
    double out[3];
    for (int i = 0; i < 3; ++i)
        out[i] = fromLinear(m[3 * i] * rgb[0] + m[3 * i + 1] * rgb[1] + m[3 * i + 2] * rgb[2]);
    return QColor::fromRgbF(static_cast<float>(out[0]), static_cast<float>(out[1]),
                            static_cast<float>(out[2]));
}

ThemeCard::ThemeCard(ThemeChoice choice, const QString& name) : m_choice(choice) {
    setText(name);
    setAccessibleName(name);
    setCheckable(true);
    setAutoExclusive(true);
    setFocusPolicy(Qt::TabFocus);
    setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
}

void ThemeCard::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    const QRectF frame(1, 1, width() - 2, px(94));
    QPainterPath clip;
    clip.addRoundedRect(frame, 6, 6);
    p.save();
    p.setClipPath(clip);
    if (m_choice == ThemeChoice::System) {
        const QRectF left(frame.left(), frame.top(), frame.width() / 2, frame.height()),
            right = left.translated(frame.width() / 2, 0);
        p.fillRect(left, darkTokens().bg1);
        p.fillRect(right, lightTokens().bg1);
        drawIcon(p, "eye", QRectF(left.center().x() - 9, left.center().y() - 9, 18, 18),
                 darkTokens().t1);
        drawIcon(p, "eye", QRectF(right.center().x() - 9, right.center().y() - 9, 18, 18),
                 lightTokens().t1);
    } else {
        drawWindow(p, frame,
                   m_choice == ThemeChoice::Light          ? lightTokens()
                   : m_choice == ThemeChoice::HighContrast ? highContrastTokens()
                                                           : darkTokens());
    }
    p.restore();
    p.setBrush(Qt::NoBrush);
    p.setPen(QPen(isChecked() ? t.acc : underMouse() ? t.ctl : t.line2, isChecked() ? 2 : 1));
    p.drawRoundedRect(frame, 6, 6);
    const double y = frame.bottom() + px(18);
    p.setPen(QPen(isChecked() ? t.fill : t.ctl, isChecked() ? 4 : 1));
    p.setBrush(isChecked() ? QColor(Qt::white) : t.field);
    p.drawEllipse(QPointF(9, y), isChecked() ? 5 : 7, isChecked() ? 5 : 7);
    p.setFont(themeFont(isChecked() ? Type::Name : Type::Body));
    p.setPen(t.t1);
    p.drawText(QRectF(24, y - 12, width() - 24, 24), Qt::AlignVCenter,
               p.fontMetrics().elidedText(text(), Qt::ElideRight, width() - 24));
}

PaletteRows::PaletteRows() {
    setAccessibleName(tr("Run colours"));
    setAccessibleDescription(
        tr("Ten colours as drawn, and as they look with deuteranopia, protanopia and tritanopia."));
    setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Fixed);
}

void PaletteRows::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    const QString names[] = {tr("As drawn"), tr("Deuteranopia"), tr("Protanopia"),
                             tr("Tritanopia")};
    const double left = px(92), each = std::min(px(31) * 1.0, (width() - left) / 10);
    for (int row = 0; row < 4; ++row) {
        const double y = row * px(24) + (row == 0 ? 0 : px(4)), height = row == 0 ? px(20) : px(14);
        p.setFont(themeFont(Type::Table));
        p.setPen(t.t2);
        p.drawText(QRectF(0, y, left, height), Qt::AlignVCenter, names[row]);
        for (int i = 0; i < 10; ++i) {
            const QColor color =
                simulated(Theme::instance().runColor(i), static_cast<ColorVision>(row));
            const QRectF box(left + i * each, y, each - 4, height);
            p.setPen(Qt::NoPen);
            p.setBrush(color);
            p.drawRoundedRect(box, 3, 3);
            if (row > 0) continue;
            p.setFont(themeFont(Type::TableStrong));
            p.setPen(color.lightnessF() > 0.5f ? QColor("#121211") : QColor(Qt::white));
            p.drawText(box, Qt::AlignCenter, QString::number(i + 1));
        }
    }
}

}  // namespace luthier::ui
