// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/method_glyph.h"

#include "theme/theme.h"

#include <QPainter>
#include <QPainterPath>
#include <QStringList>

#include <vector>

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
    void layers(double x, double w, int trained) const {
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
    void stroke(const QPainterPath& path, double w) const {
        p.setBrush(Qt::NoBrush);
        p.setPen(QPen(accent, w, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
        p.drawPath(path.translated(o));
    }
};

}  // namespace

void drawMethodGlyph(QPainter& painter, const QString& glyph, QPointF corner, bool isAvailable) {
    const Tokens& t = Theme::tokens();
    painter.save();
    painter.setRenderHint(QPainter::Antialiasing);
    if (!isAvailable) painter.setOpacity(0.55);
    const Pen g{painter, t.frozen, t.acc, corner};
    const QStringList words = glyph.split(' ', Qt::SkipEmptyParts);
    for (qsizetype i = 0; i < words.size();) {
        const QString command = words[i++];
        std::vector<double> n;
        for (bool isNumber = true; i < words.size(); ++i) {
            const double value = words[i].toDouble(&isNumber);
            if (!isNumber) break;
            n.push_back(value);
        }
        const auto outline = [&](std::size_t first) {
            QPainterPath path(QPointF(n[first], n[first + 1]));
            for (std::size_t k = first + 2; k + 1 < n.size(); k += 2) path.lineTo(n[k], n[k + 1]);
            return path;
        };
        if (command == "bar" && n.size() == 4) {
            g.bar(n[0], n[1], n[2], n[3], true);
        } else if (command == "frozen" && n.size() == 4) {
            g.bar(n[0], n[1], n[2], n[3], false);
        } else if (command == "layers" && n.size() == 3) {
            g.layers(n[0], n[1], static_cast<int>(n[2]));
        } else if (command == "tie" && n.size() == 4) {
            g.bowTie(n[0], n[1], n[2], n[3]);
        } else if (command == "line" && n.size() > 4) {
            g.stroke(outline(1), n[0]);
        } else if (command == "shape" && n.size() > 5) {
            QPainterPath path = outline(0);
            path.closeSubpath();
            painter.fillPath(path.translated(corner), t.acc);
        } else if (command == "curve" && n.size() == 9) {
            QPainterPath path(QPointF(n[1], n[2]));
            path.cubicTo(n[3], n[4], n[5], n[6], n[7], n[8]);
            g.stroke(path, n[0]);
        } else if (command == "arc" && n.size() == 7) {
            const QRectF box(n[1], n[2], n[3], n[4]);
            QPainterPath path;
            path.arcMoveTo(box, n[5]);
            path.arcTo(box, n[5], n[6]);
            g.stroke(path, n[0]);
        }
    }
    painter.restore();
}

}  // namespace luthier::ui
