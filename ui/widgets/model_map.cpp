// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/model_map.h"

#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"

#include <QAccessible>
#include <QHelpEvent>
#include <QJsonArray>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>
#include <QToolTip>

namespace luthier::ui {

namespace {

const QStringList kQueryLike = {"query", "key", "value", "fused_qkv"};

bool isProjection(const QString& role) {
    return kQueryLike.contains(role) || role == "attention_out" || role == "gate" || role == "up" ||
           role == "down";
}

}  // namespace

ModelMap::ModelMap() {
    installAccessibility();
    setMouseTracking(true);
    setFocusPolicy(Qt::TabFocus);
    setAccessibleName(tr("Where it trains"));
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Expanding);
}

void ModelMap::setModel(const QJsonObject& inspect) {
    const QJsonObject map = inspect["map"].toObject();
    m_layers = map["layers"].toInt(inspect["layers"].toInt());
    m_parts.clear();
    m_focus = m_hover = -1;
    for (const QJsonValue& value : map["modules"].toArray()) {
        Part part;
        part.name = value["name"].toString();
        part.label = part.name.section('.', -1);
        part.role = value["role"].toString();
        part.in = value["in"].toInteger();
        part.out = value["out"].toInteger();
        part.parameters = value["parameters"].toInteger();
        m_parts.push_back(part);
    }
    layOut();
    update();
}

void ModelMap::setTrained(const QStringList& marks, const QSet<QString>& labels,
                          const QSet<int>& layers, const QHash<QString, qint64>& added) {
    m_marks = marks;
    m_trained = labels;
    m_trainedLayers = layers;
    m_added = added;
    update();
}

void ModelMap::showAs(const ModelMap& other) {
    m_parts = other.m_parts;
    m_layers = other.m_layers;
    layOut();
    setTrained(other.m_marks, other.m_trained, other.m_trainedLayers, other.m_added);
}

void ModelMap::setEditable(bool modules, bool layers) {
    m_canToggle = modules;
    m_canPickLayers = layers;
    update();
}

QStringList ModelMap::projections() const {
    QStringList names;
    for (const Part& part : m_parts)
        if (isProjection(part.role) && !names.contains(part.label)) names << part.label;
    return names;
}

QStringList ModelMap::projectionsWithRole(const QStringList& roles) const {
    QStringList names;
    for (const Part& part : m_parts)
        if (roles.contains(part.role) && !names.contains(part.label)) names << part.label;
    return names;
}

void ModelMap::layOut() {
    const double w = width(), h = height();
    const double boxH = px(34), stripH = px(22);
    m_strip = QRectF(16, h - stripH - 12, w - 32, stripH);
    m_residualY = m_strip.top() - 40;
    const double endW = px(84), headW = px(64);
    m_embedding = QRectF(16, m_residualY - boxH / 2, endW, boxH);
    m_head = QRectF(w - 16 - headW, m_residualY - boxH / 2, headW, boxH);
    m_normOut = QRectF(m_head.left() - 36, m_residualY - 26, 17, 52);
    m_frame = QRectF(m_embedding.right() + 22, 8, m_normOut.left() - 22 - m_embedding.right() - 22,
                     m_residualY + 22 - 8);
    m_strip.setLeft(m_frame.left());
    m_strip.setRight(m_frame.right());

    std::vector<Part*> queries, ffn;
    Part *out = nullptr, *down = nullptr;
    for (Part& part : m_parts) {
        part.box = {};
        if (kQueryLike.contains(part.role))
            queries.push_back(&part);
        else if (part.role == "attention_out")
            out = &part;
        else if (part.role == "gate" || part.role == "up")
            ffn.push_back(&part);
        else if (part.role == "down")
            down = &part;
        else if (part.role == "embedding" && m_embedding.isValid())
            part.box = m_embedding;
        else if (part.role == "head")
            part.box = m_head;
    }
    m_hasGate = ffn.size() > 1;
    // Columns share what the fixed shapes leave.
    const double inner = m_frame.width() - 28, fixed = 17 + 22 + 30 + 30 + 40 + 17 + 22 + 34 + 34 +
                                                       (m_hasGate ? 34 : 10) + 26 + px(42);
    const double boxW = std::clamp((inner - fixed) / 4, 62.0, double(px(100)));
    const double slack = std::max(0.0, (inner - fixed - 4 * boxW) / 4);
    double x = m_frame.left() + 26;
    const double top = m_frame.top() + 12, bottom = m_residualY - 30;
    const double centre = (top + bottom) / 2;
    m_norm1 = QRectF(x, centre - 36, 17, 72);
    x += 17 + 22 + slack / 2;
    const double gap =
        queries.size() > 1
            ? std::min(boxH + 12.0, (bottom - top - boxH) / static_cast<double>(queries.size() - 1))
            : 0;
    for (std::size_t i = 0; i < queries.size(); ++i)
        queries[i]->box =
            QRectF(x,
                   centre - boxH / 2 +
                       (static_cast<double>(i) - static_cast<double>(queries.size() - 1) / 2) * gap,
                   boxW, std::min(boxH + 0.0, gap > 0 ? gap - 6 : boxH));
    x += boxW + 20 + slack / 2;
    m_attention = QRectF(x, top, px(42), bottom - top);
    x += px(42) + 20 + slack / 2;
    if (out) out->box = QRectF(x, centre - boxH / 2, boxW, boxH);
    x += boxW + 22;
    m_plus1 = QPointF(x, m_residualY);
    x += 14;
    m_norm2 = QRectF(x + 8, centre - 36, 17, 72);
    x += 8 + 17 + 22 + slack / 2;
    for (std::size_t i = 0; i < ffn.size(); ++i)
        ffn[i]->box = QRectF(
            x,
            centre - boxH / 2 +
                (static_cast<double>(i) - static_cast<double>(ffn.size() - 1) / 2) * (boxH + 16),
            boxW, boxH);
    x += boxW + (m_hasGate ? 22 : 4);
    m_times = QPointF(x, centre);
    x += (m_hasGate ? 26 : 14) + slack / 2;
    if (down) down->box = QRectF(x, centre - boxH / 2, boxW, boxH);
    m_plus2 = QPointF(std::min(x + boxW + 16, m_frame.right() - 16), m_residualY);
}

void ModelMap::paintPart(QPainter& p, const Part& part, bool isHovered) const {
    const Tokens& t = Theme::tokens();
    const bool on = isTrained(part);
    const QRectF box = part.box.adjusted(0.5, 0.5, -0.5, -0.5);
    p.setPen(QPen(
        isHovered && m_canToggle && isProjection(part.role) ? t.t1
        : on                                                ? t.acc
                                                            : t.frozen,
        on ? 1.5 : 1,
        isHovered && !on && m_canToggle && isProjection(part.role) ? Qt::DashLine : Qt::SolidLine));
    p.setBrush(on ? t.soft : t.frozensoft);
    p.drawRoundedRect(box, 4, 4);
    const bool isLow = box.height() < px(30);
    QFont nameFont = themeFont(Type::Table), countFont = themeFont(Type::Caption);
    p.setFont(nameFont);
    p.setPen(t.t1);
    const QRectF text = box.adjusted(6, 2, -3, -2);
    const QString label = part.role == "embedding" ? tr("Embedding")
                          : part.role == "head"    ? tr("Head")
                                                   : part.label;
    p.drawText(text, (isLow ? Qt::AlignVCenter : Qt::AlignTop) | Qt::AlignLeft,
               p.fontMetrics().elidedText(label, Qt::ElideRight, static_cast<int>(text.width())));
    if (!isLow) {
        const qint64 added = m_added.value(part.label);
        const bool isBlockPart = isProjection(part.role);
        QString count = part.parameters > 0
                            ? format::shortCount(static_cast<double>(part.parameters))
                        : part.role == "head" ? tr("tied")
                                              : QString();
        if (on && added > 0) {
            const qint64 layers = m_trainedLayers.isEmpty() ? m_layers : m_trainedLayers.size();
            count = "+ " + format::count(isBlockPart && layers > 0 ? added / layers : added);
        }
        p.setFont(countFont);
        p.setPen(on ? t.acc : t.t3);
        p.drawText(text, Qt::AlignBottom | Qt::AlignLeft, count);
    }
    const double countWidth =
        QFontMetrics(countFont).horizontalAdvance("+ " + format::count(m_added.value(part.label)));
    if (on && !isLow &&
        box.width() > countWidth + 30) {  // a bow tie says "added", a plain bar "trained itself"
        const double cx = box.right() - 13, cy = box.bottom() - 10;
        QPainterPath path;
        path.moveTo(cx - 6, cy - 5);
        path.lineTo(cx, cy);
        path.lineTo(cx - 6, cy + 5);
        path.closeSubpath();
        path.moveTo(cx + 6, cy - 5);
        path.lineTo(cx, cy);
        path.lineTo(cx + 6, cy + 5);
        path.closeSubpath();
        p.fillPath(path, t.acc);
    }
}

void ModelMap::paintLayers(QPainter& p) const {
    const Tokens& t = Theme::tokens();
    p.setFont(themeFont(Type::Table));
    p.setPen(t.t2);
    p.drawText(QRectF(16, m_strip.top(), m_strip.left() - 20, m_strip.height()), Qt::AlignVCenter,
               tr("Layers"));
    if (m_layers <= 0) return;
    const double each = m_strip.width() / m_layers, gap = each > 10 ? 4 : 1;
    const bool anyTrained = !m_trained.isEmpty() || m_marks.contains(QLatin1String("prefix")) ||
                            m_marks.contains(QLatin1String("nets")) ||
                            m_marks.contains(QLatin1String("norms"));
    int trained = 0;
    p.setFont(themeFont(Type::Caption));
    for (int i = 0; i < m_layers; ++i) {
        const bool on = anyTrained && (m_trainedLayers.isEmpty() || m_trainedLayers.contains(i));
        trained += on;
        const QRectF box(m_strip.left() + each * i + 0.5, m_strip.top() + 0.5,
                         std::min(each - gap, 60.0), m_strip.height() - 1);
        p.setPen(QPen(i == m_hoverLayer && m_canPickLayers ? t.t1 : on ? t.acc : t.frozen, 1));
        p.setBrush(on ? t.soft : t.frozensoft);
        p.drawRoundedRect(box, 3, 3);
        if (box.width() >= 16) {
            p.setPen(on ? t.acc : t.t3);
            p.drawText(box, Qt::AlignCenter, QString::number(i));
        }
    }
    p.setFont(themeFont(Type::Table));
    p.setPen(t.t2);
    const QString words = trained == m_layers ? tr("all %1 trained").arg(m_layers)
                                              : tr("%1 of %2 trained").arg(trained).arg(m_layers);
    p.drawText(QRectF(m_strip.right() + 6, m_strip.top(), width() - 16 - m_strip.right() - 6,
                      m_strip.height()),
               Qt::AlignVCenter | Qt::AlignRight, words);
}

void ModelMap::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    if (m_parts.empty()) {
        p.setPen(t.t3);
        p.drawText(rect(), Qt::AlignCenter, tr("Choose a model to see its parts."));
        return;
    }
    // Stacked block frames and the residual line.
    p.setBrush(Qt::NoBrush);
    for (int i = 2; i >= 0; --i) {
        p.setPen(QPen(i == 0 ? t.line2 : t.line, 1));
        if (i == 0) p.setBrush(t.bg1);
        p.drawRoundedRect(m_frame.adjusted(0.5 + 4 * i, 0.5 - 2 * i, -0.5 + 4 * i, -0.5 - 2 * i), 8,
                          8);
    }
    p.setPen(QPen(t.frozen, 2.5));
    p.drawLine(QPointF(m_embedding.right(), m_residualY), QPointF(m_head.left(), m_residualY));
    p.setPen(QPen(t.frozen, 1.5));
    p.setBrush(Qt::NoBrush);
    const auto wire = [&](std::initializer_list<QPointF> points) {
        p.drawPolyline(QPolygonF(QList<QPointF>(points)));
    };
    const auto bar = [&](const QRectF& box, const QString& text, bool trained) {
        p.setPen(QPen(trained ? t.acc : t.line2, 1));
        p.setBrush(trained ? t.soft : t.frozensoft);
        p.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4);
        p.save();
        p.translate(box.center());
        p.rotate(-90);
        p.setFont(themeFont(Type::Caption));
        p.setPen(trained ? t.acc : t.t2);
        p.drawText(QRectF(-box.height() / 2, -box.width() / 2, box.height(), box.width()),
                   Qt::AlignCenter, text);
        p.restore();
        p.setPen(QPen(t.frozen, 1.5));
        p.setBrush(Qt::NoBrush);
    };
    const auto round = [&](QPointF c, const QString& sign) {
        p.setPen(QPen(t.frozen, 1.5));
        p.setBrush(t.bg1);
        p.drawEllipse(c, 8.5, 8.5);
        p.setPen(QPen(t.t1, 1.4));
        if (sign == "+") {
            p.drawLine(c + QPointF(-4, 0), c + QPointF(4, 0));
            p.drawLine(c + QPointF(0, -4), c + QPointF(0, 4));
        } else {
            p.drawLine(c + QPointF(-3, -3), c + QPointF(3, 3));
            p.drawLine(c + QPointF(-3, 3), c + QPointF(3, -3));
        }
        p.setPen(QPen(t.frozen, 1.5));
        p.setBrush(Qt::NoBrush);
    };
    const double centre = m_norm1.center().y();
    const double rise1 = m_norm1.left() - 12, rise2 = m_norm2.left() - 10;
    wire({{rise1, m_residualY}, {rise1, centre}, {m_norm1.left(), centre}});
    for (const Part& part : m_parts) {
        const double y = part.box.center().y();
        if (kQueryLike.contains(part.role)) {
            wire({{m_norm1.right(), centre},
                  {m_norm1.right() + 10, centre},
                  {m_norm1.right() + 10, y},
                  {part.box.left(), y}});
            wire({{part.box.right(), y}, {m_attention.left(), y}});
        } else if (part.role == "attention_out") {
            wire({{m_attention.right(), y}, {part.box.left(), y}});
            wire({{part.box.right(), y}, {m_plus1.x(), y}, {m_plus1.x(), m_residualY}});
        } else if (part.role == "gate" || part.role == "up") {
            wire({{m_norm2.right(), centre},
                  {m_norm2.right() + 10, centre},
                  {m_norm2.right() + 10, y},
                  {part.box.left(), y}});
            wire(m_hasGate ? std::initializer_list<QPointF>{{part.box.right(), y},
                                                            {m_times.x(), y},
                                                            {m_times.x(), centre}}
                           : std::initializer_list<QPointF>{{part.box.right(), y},
                                                            {m_times.x() + 10, y}});
        } else if (part.role == "down") {
            wire({{m_times.x(), y}, {part.box.left(), y}});
            wire({{part.box.right(), y}, {m_plus2.x(), y}, {m_plus2.x(), m_residualY}});
        }
    }
    wire({{rise2, m_residualY}, {rise2, centre}, {m_norm2.left(), centre}});
    const bool norms = m_marks.contains(QLatin1String("norms")) || m_trained.contains("norm");
    const bool hasPrefix = m_marks.contains(QLatin1String("prefix"));
    bar(m_norm1, tr("norm"), norms);
    bar(m_norm2, tr("norm"), norms);
    bar(m_normOut, tr("norm"), norms);
    bar(m_attention, hasPrefix ? tr("attention + prefix") : tr("attention"), hasPrefix);
    round(m_plus1, "+");
    round(m_plus2, "+");
    if (m_hasGate) round(m_times, "x");
    if (m_marks.contains(QLatin1String("nets"))) {  // a small net after each half of the block
        p.setFont(themeFont(Type::Caption));
        for (const QPointF& at : {m_plus1, m_plus2}) {
            const QRectF box(at.x() - 9, m_residualY - 34, 18, 14);
            p.setPen(QPen(t.acc, 1.2));
            p.setBrush(t.soft);
            QPainterPath path;
            path.moveTo(box.topLeft());
            path.lineTo(box.topRight());
            path.lineTo(box.center() + QPointF(3, 0));
            path.lineTo(box.bottomRight());
            path.lineTo(box.bottomLeft());
            path.lineTo(box.center() - QPointF(3, 0));
            path.closeSubpath();
            p.drawPath(path);
        }
    }
    if (m_marks.contains(QLatin1String("tokens"))) {
        p.setPen(Qt::NoPen);
        p.setBrush(t.acc);
        for (int i = 0; i < 4; ++i)
            p.drawRoundedRect(QRectF(m_embedding.left() + i * 12, m_embedding.top() - 14, 9, 9), 2,
                              2);
        p.setFont(themeFont(Type::Caption));
        p.setPen(t.acc);
        p.drawText(QRectF(m_embedding.left(), m_embedding.top() - 32, m_embedding.width() + 20, 16),
                   Qt::AlignLeft | Qt::AlignVCenter, tr("learned tokens"));
    }
    for (std::size_t i = 0; i < m_parts.size(); ++i)
        if (m_parts[i].box.isValid())
            paintPart(
                p, m_parts[i],
                static_cast<int>(i) == m_hover || (hasFocus() && static_cast<int>(i) == m_focus));
    paintLayers(p);
}

int ModelMap::partAt(QPointF point) const {
    for (std::size_t i = 0; i < m_parts.size(); ++i)
        if (m_parts[i].box.contains(point)) return static_cast<int>(i);
    return -1;
}

int ModelMap::layerAt(QPointF point) const {
    if (!m_strip.contains(point) || m_layers <= 0) return -1;
    return std::clamp(static_cast<int>((point.x() - m_strip.left()) / m_strip.width() * m_layers),
                      0, m_layers - 1);
}

QString ModelMap::partWords(int index) const {
    const Part& part = m_parts[static_cast<std::size_t>(index)];
    const QString label = part.role == "embedding" ? tr("embedding")
                          : part.role == "head"    ? tr("head")
                                                   : part.label;
    const qint64 added = m_added.value(part.label),
                 layers = m_trainedLayers.isEmpty() ? m_layers : m_trainedLayers.size();
    if (!isTrained(part))
        return tr("%1, frozen, %2 parameters").arg(label, format::count(part.parameters));
    if (added > 0 && isProjection(part.role) && layers > 0)
        return tr("%1, trained, %2 per layer").arg(label, format::count(added / layers));
    return tr("%1, trained").arg(label);
}

bool ModelMap::canToggle(int index) const {
    return m_canToggle && isProjection(m_parts[static_cast<std::size_t>(index)].role);
}

void ModelMap::toggle(int index) {
    if (canToggle(index))
        emit partToggled(m_parts[static_cast<std::size_t>(index)].label, !isPartTrained(index));
}

QString ModelMap::summary() const {
    if (m_parts.empty()) return tr("No model is chosen.");
    int trained = 0;
    for (const Part& part : m_parts) trained += isTrained(part);
    const qsizetype layers = m_trainedLayers.isEmpty() ? m_layers : m_trainedLayers.size();
    return tr("%1 of %2 parts train, in %3 of %4 layers.")
        .arg(trained)
        .arg(m_parts.size())
        .arg(trained > 0 ? layers : 0)
        .arg(m_layers);
}

QString ModelMap::describe(const Part& part) const {
    QString text = QStringLiteral("<b>%1</b>&nbsp; %2 × %3, %4")
                       .arg(part.label)
                       .arg(part.in)
                       .arg(part.out)
                       .arg(isTrained(part) ? tr("trained") : tr("frozen"));
    const qint64 added = m_added.value(part.label);
    if (isTrained(part) && added > 0)
        text += "<br>" + tr("+ %1 over %n layer(s)", nullptr, m_layers).arg(format::count(added));
    else if (m_canToggle && isProjection(part.role))
        text += "<br>" + (isTrained(part) ? tr("Click to freeze it.") : tr("Click to train it."));
    return text;
}

bool ModelMap::event(QEvent* event) {
    if (event->type() == QEvent::ToolTip) {
        const auto* help = static_cast<QHelpEvent*>(event);
        const int index = partAt(help->pos());
        if (index >= 0)
            QToolTip::showText(help->globalPos(),
                               describe(m_parts[static_cast<std::size_t>(index)]), this);
        else
            QToolTip::hideText();
        return true;
    }
    return QWidget::event(event);
}

void ModelMap::mouseMoveEvent(QMouseEvent* event) {
    const int part = partAt(event->position()), layer = layerAt(event->position());
    if (part != m_hover || layer != m_hoverLayer) {
        m_hover = part;
        m_hoverLayer = layer;
        const bool canClick = (part >= 0 && m_canToggle &&
                               isProjection(m_parts[static_cast<std::size_t>(part)].role)) ||
                              (layer >= 0 && m_canPickLayers);
        setCursor(canClick ? Qt::PointingHandCursor : Qt::ArrowCursor);
        update();
    }
    if (m_dragLayer >= 0 && layer >= 0) {
        QSet<int> layers = m_trainedLayers;
        if (layers.isEmpty())
            for (int i = 0; i < m_layers; ++i) layers << i;
        for (int i = std::min(m_dragLayer, layer); i <= std::max(m_dragLayer, layer); ++i)
            m_dragTrains ? (void)layers.insert(i) : (void)layers.remove(i);
        if (!layers.isEmpty()) emit layersChosen(layers);
    }
}

void ModelMap::mousePressEvent(QMouseEvent* event) {
    const int part = partAt(event->position()), layer = layerAt(event->position());
    if (part >= 0) toggle(part);
    if (layer >= 0 && m_canPickLayers) {
        m_dragLayer = layer;
        m_dragTrains = !m_trainedLayers.isEmpty() && !m_trainedLayers.contains(layer);
        mouseMoveEvent(event);
    }
}

void ModelMap::mouseReleaseEvent(QMouseEvent*) { m_dragLayer = -1; }

void ModelMap::leaveEvent(QEvent*) {
    m_hover = m_hoverLayer = -1;
    update();
}

void ModelMap::keyPressEvent(QKeyEvent* event) {
    const int count = static_cast<int>(m_parts.size());
    if (count == 0) return QWidget::keyPressEvent(event);
    const int step = event->key() == Qt::Key_Right || event->key() == Qt::Key_Down ? 1
                     : event->key() == Qt::Key_Left || event->key() == Qt::Key_Up  ? -1
                                                                                   : 0;
    if (step != 0) {
        for (int tries = 0; tries < count; ++tries) {
            m_focus = (m_focus + step + count) % count;
            if (m_parts[static_cast<std::size_t>(m_focus)].box.isValid()) break;
        }
        QAccessibleEvent moved(this, QAccessible::Focus);
        moved.setChild(m_focus);
        QAccessible::updateAccessibility(&moved);
        update();
    } else if (event->key() == Qt::Key_Space && m_focus >= 0) {
        toggle(m_focus);
    } else {
        QWidget::keyPressEvent(event);
    }
}

}  // namespace luthier::ui
