// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/method_glyph.h"

#include "theme/theme.h"

#include <QPainter>
#include <QPainterPath>

namespace luthier::ui {

namespace {

struct Pen {
    QPainter& p;
    QColor grey, accent;
    QPointF o;

    void bar(double x, double y, double w, double h, bool isTrained) const {
        p.setPen(Qt::NoPen);
        p.setBrush(isTrained ? accent : grey);
        p.drawRoundedRect(QRectF(o.x() + x, o.y() + y, w, h), 0.8, 0.8);
    }
    void layers(double x = 0, double w = 15, int trained = 0) const {
        for (int i = 0; i < 3; ++i) bar(x, 2 + 6 * i, w, 4, i < trained);
    }
    void bowTie(double x, double y, double w, double h) const {
        QPainterPath path;
        path.moveTo(o.x() + x, o.y() + y);
        path.lineTo(o.x() + x + w / 2, o.y() + y + h / 2);
        path.lineTo(o.x() + x, o.y() + y + h);
        path.closeSubpath();
        path.moveTo(o.x() + x + w, o.y() + y);
        path.lineTo(o.x() + x + w / 2, o.y() + y + h / 2);
        path.lineTo(o.x() + x + w, o.y() + y + h);
        path.closeSubpath();
        p.fillPath(path, accent);
    }
    void square(double x, double y, double s) const { bar(x, y, s, s, true); }
    void stroke(const QPainterPath& path, double w = 1.4) const {
        p.setBrush(Qt::NoBrush);
        p.setPen(QPen(accent, w, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
        p.drawPath(path.translated(o));
    }
};

}  // namespace

void drawMethodGlyph(QPainter& painter, const QString& method, QPointF corner, bool isAvailable) {
    const Tokens& t = Theme::tokens();
    painter.save();
    painter.setRenderHint(QPainter::Antialiasing);
    if (!isAvailable) painter.setOpacity(0.55);
    const Pen g{painter, t.frozen, t.acc, corner};
    if (method == "full") {
        g.layers(2, 26, 3);
    } else if (method == "freeze") {
        g.layers(2, 26, 1);
    } else if (method == "bitfit") {
        g.layers(2, 16);
        for (int i = 0; i < 3; ++i) g.square(21, 2 + 6 * i, 4);
    } else if (method == "ln_tuning") {
        for (int i = 0; i < 3; ++i)
            g.bar(2, 2 + 6 * i, 26, 2, i == 1), g.bar(2, 5 + 6 * i, 26, 1.4, true);
    } else if (method == "adalora") {
        g.layers();
        g.bowTie(18, 1, 10, 7);
        g.bowTie(19.5, 8.5, 7, 5);
        g.bowTie(21, 14.5, 4, 4);
    } else if (method == "vera") {
        g.layers();
        QPainterPath path;
        path.moveTo(18, 3);
        path.lineTo(28, 17);
        path.lineTo(28, 3);
        path.lineTo(18, 17);
        path.closeSubpath();
        g.stroke(path, 1.2);
        g.square(22, 0, 2.4);
        g.square(22, 17, 2.4);
    } else if (method == "loha") {
        g.bar(0, 8, 9, 4, false);
        g.bowTie(12, 2, 9, 7);
        g.bowTie(12, 11, 9, 7);
        g.bowTie(24, 7.5, 5, 5);
    } else if (method == "lokr") {
        g.bar(0, 8, 4, 4, false);
        g.square(6.5, 8.7, 2.6);
        for (int r = 0; r < 3; ++r)
            for (int c = 0; c < 3; ++c) g.square(13 + 6 * c, 2 + 6 * r, 4.4);
    } else if (method == "oft") {
        g.bar(0, 8, 11, 4, false);
        QPainterPath path;
        path.arcMoveTo(QRectF(15, 3, 14, 14), 60);
        path.arcTo(QRectF(15, 3, 14, 14), 60, 300);
        path.moveTo(29, 6);
        path.lineTo(29, 10);
        path.lineTo(25, 10);
        g.stroke(path);
    } else if (method == "ia3") {
        g.layers(2, 26);
        g.bar(9, 0, 2.2, 20, true);
        g.bar(19, 0, 2.2, 20, true);
    } else if (method == "bottleneck") {
        g.bar(2, 0.5, 26, 3.6, false);
        g.bar(2, 16, 26, 3.6, false);
        QPainterPath path;
        path.moveTo(corner.x() + 5, corner.y() + 5.5);
        path.lineTo(corner.x() + 25, corner.y() + 5.5);
        path.lineTo(corner.x() + 18, corner.y() + 10);
        path.lineTo(corner.x() + 25, corner.y() + 14.5);
        path.lineTo(corner.x() + 5, corner.y() + 14.5);
        path.lineTo(corner.x() + 12, corner.y() + 10);
        path.closeSubpath();
        painter.fillPath(path, t.acc);
    } else if (method == "prompt_tuning" || method == "p_tuning") {
        g.layers(13, 15);
        g.bar(13, 14, 15, 4, false);
        g.square(0, 14, 4);
        g.square(6, 14, 4);
        if (method == "p_tuning") {
            QPainterPath path;
            path.moveTo(0, 10);
            path.cubicTo(2, 4, 4, 14, 6, 8);
            path.lineTo(9, 8);
            g.stroke(path, 1.2);
        }
    } else if (method == "prefix_tuning" || method == "p_tuning_v2") {
        g.layers(13, method == "prefix_tuning" ? 15 : 9);
        for (int i = 0; i < 3; ++i) {
            g.square(0, 2 + 6 * i, 4);
            g.square(6, 2 + 6 * i, 4);
            if (method == "p_tuning_v2") g.square(24, 2 + 6 * i, 4);
        }
    } else {  // lora and whatever comes
        g.layers();
        g.bowTie(18, 1, 10, 8);
        g.bowTie(18, 11, 10, 8);
    }
    painter.restore();
}

}  // namespace luthier::ui
