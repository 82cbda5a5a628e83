// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme/icons.h"

#include "theme/theme.h"

#include <QFile>
#include <QGuiApplication>
#include <QIconEngine>
#include <QPainter>
#include <QPixmapCache>
#include <QSvgRenderer>

#include <functional>

namespace luthier::ui {

namespace {

QByteArray iconSource(const QString& name) {
    static QHash<QString, QByteArray> sources;
    auto it = sources.find(name);
    if (it == sources.end()) {
        QFile file(":/icons/" + name + ".svg");
        it = sources.insert(name, file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray());
    }
    return *it;
}

class TintEngine final : public QIconEngine {
public:
    TintEngine(QString name, std::function<QColor(QIcon::Mode)> color)
        : m_name(std::move(name)), m_color(std::move(color)) {}
    void paint(QPainter* painter, const QRect& rect, QIcon::Mode mode, QIcon::State) override {
        drawIcon(*painter, m_name, rect, m_color(mode));
    }
    QPixmap pixmap(const QSize& size, QIcon::Mode mode, QIcon::State) override {
        return iconPixmap(m_name, m_color(mode), size.width(), 1);
    }
    QIconEngine* clone() const override { return new TintEngine(*this); }

private:
    QString m_name;
    std::function<QColor(QIcon::Mode)> m_color;
};

}  // namespace

QPixmap iconPixmap(const QString& name, const QColor& color, int size, qreal ratio) {
    if (ratio <= 0) ratio = qGuiApp->devicePixelRatio();
    const QString key = QStringLiteral("%1/%2/%3/%4").arg(name, color.name()).arg(size).arg(ratio);
    QPixmap pixmap;
    if (QPixmapCache::find(key, &pixmap)) return pixmap;
    pixmap = QPixmap(QSize(size, size) * ratio);
    pixmap.fill(Qt::transparent);
    QSvgRenderer renderer(QByteArray(iconSource(name)).replace("#000", color.name().toLatin1()));
    QPainter painter(&pixmap);
    renderer.render(&painter, QRectF(QPointF(), QSizeF(pixmap.size())));
    painter.end();
    pixmap.setDevicePixelRatio(ratio);
    QPixmapCache::insert(key, pixmap);
    return pixmap;
}

void drawIcon(QPainter& painter, const QString& name, const QRectF& rect, const QColor& color) {
    const int size = static_cast<int>(qMin(rect.width(), rect.height()));
    const QPixmap pixmap = iconPixmap(name, color, size, painter.device()->devicePixelRatioF());
    const QPointF corner(std::round(rect.x() + (rect.width() - size) / 2),
                         std::round(rect.y() + (rect.height() - size) / 2));
    painter.drawPixmap(corner, pixmap);
}

QIcon themedIcon(const QString& name) {
    return QIcon(new TintEngine(name, [](QIcon::Mode mode) {
        return mode == QIcon::Disabled ? Theme::tokens().dis : Theme::tokens().t1;
    }));
}

QIcon tintedIcon(const QString& name, const QColor& color) {
    return QIcon(new TintEngine(name, [color](QIcon::Mode mode) {
        return mode == QIcon::Disabled ? Theme::tokens().dis : color;
    }));
}

}  // namespace luthier::ui
