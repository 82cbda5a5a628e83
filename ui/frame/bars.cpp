// SPDX-License-Identifier: GPL-3.0-or-later
#include "frame/bars.h"

#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"

#include <QCoreApplication>
#include <QFileInfo>
#include <QPainter>

namespace luthier::ui {

namespace {

class SearchBox final : public QAbstractButton {
public:
    SearchBox() {
        setAccessibleName(QObject::tr("Search, run, go to"));
        setFocusPolicy(Qt::TabFocus);
        setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
    }
    QSize sizeHint() const override { return {px(184), px(28)}; }

protected:
    void paintEvent(QPaintEvent*) override {
        const Tokens& t = Theme::tokens();
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        p.setPen(QPen(underMouse() ? t.ctl : t.line2, 1));
        p.setBrush(t.isDark ? t.bg0 : t.bg2);
        p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6);
        drawIcon(p, "search", QRectF(8, (height() - 14) / 2.0, 14, 14), t.t3);
        p.setFont(themeFont(Type::Table));
        p.setPen(t.t3);
        p.drawText(QRectF(28, 0, width() - 80, height()), Qt::AlignVCenter,
                   tr("Search, run, go to"));
        p.setFont(themeFont(Type::Caption));
        const QString keys = "Ctrl K";
        const double w = p.fontMetrics().horizontalAdvance(keys) + 10;
        const QRectF cap(width() - w - 6, (height() - 18) / 2.0 + 0.5, w, 17);
        p.setPen(QPen(t.line2, 1));
        p.setBrush(Qt::NoBrush);
        p.drawRoundedRect(cap, 4, 4);
        p.setPen(t.t2);
        p.drawText(cap, Qt::AlignCenter, keys);
    }
    void enterEvent(QEnterEvent*) override { update(); }
    void leaveEvent(QEvent*) override { update(); }
};

}  // namespace

RunPill::RunPill() {
    setFocusPolicy(Qt::TabFocus);
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
    hide();
}

void RunPill::set(const QString& name, double share, const QString& note) {
    m_name = format::middleCut(name, 28);
    m_share = share;
    m_note = note;
    setAccessibleName(tr("Running: %1, %2").arg(name, note));
    updateGeometry();
    update();
}

QSize RunPill::sizeHint() const {
    const QFontMetrics strong(themeFont(Type::TableStrong)), plain(themeFont(Type::Table));
    return {strong.horizontalAdvance(m_name) + plain.horizontalAdvance(m_note) + 24 + 80 + 18,
            px(30)};
}

void RunPill::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    p.setRenderHint(QPainter::Antialiasing);
    p.setPen(QPen(t.line2, 1));
    p.setBrush(underMouse() ? t.bg3 : t.bg2);
    p.drawRoundedRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6);
    p.setPen(Qt::NoPen);
    p.setBrush(t.acc);
    p.drawEllipse(QPointF(15, height() / 2.0), 4, 4);
    p.setFont(themeFont(Type::TableStrong));
    p.setPen(t.t1);
    double x = 26;
    p.drawText(QRectF(x, 0, width(), height()), Qt::AlignVCenter, m_name);
    x += p.fontMetrics().horizontalAdvance(m_name) + 10;
    p.setPen(Qt::NoPen);
    p.setBrush(t.line2);
    p.drawRoundedRect(QRectF(x, height() / 2.0 - 1.5, 64, 3), 1.5, 1.5);
    p.setBrush(t.acc);
    p.drawRoundedRect(QRectF(x, height() / 2.0 - 1.5, 64 * qBound(0.0, m_share, 1.0), 3), 1.5, 1.5);
    x += 72;
    p.setFont(themeFont(Type::Table));
    p.setPen(t.t2);
    p.drawText(QRectF(x, 0, width() - x, height()), Qt::AlignVCenter, m_note);
}

TopBar::TopBar() {
    setFixedHeight(px(48));
    auto* row = makeRow(8);
    row->setContentsMargins(16, 0, 16, 0);
    m_title = makeLabel({}, "title");
    m_context = new ElidedLabel({}, "body", "t2");
    m_pill = new RunPill;
    m_search = new SearchBox;
    m_actions = makeRow(8);
    row->addWidget(m_title);
    row->addWidget(m_context, 1);
    row->addWidget(m_pill);
    row->addWidget(m_search);
    row->addLayout(m_actions);
    setLayout(row);
}

QAbstractButton* TopBar::search() { return m_search; }

void TopBar::setTitle(const QString& title, const QString& context) {
    m_title->setText(title);
    m_context->setWhole(context);
}

void TopBar::setActions(const QList<QWidget*>& actions) {
    if (actions == m_current) return;
    for (QWidget* widget : m_current) {
        m_actions->removeWidget(widget);
        widget->hide();
    }
    m_current = actions;
    for (QWidget* widget : actions) {
        m_actions->addWidget(widget);
        widget->show();
    }
}

void TopBar::paintEvent(QPaintEvent*) {
    QPainter p(this);
    p.fillRect(rect(), Theme::tokens().bg0);
    p.fillRect(0, height() - 1, width(), 1, Theme::tokens().line);
}

StatusBar::StatusBar(Workbench& bench) : m_bench(bench) {
    setFixedHeight(px(24));
    setAccessibleName(tr("Status"));
    connect(&bench.probe, &SystemProbe::changed, this, qOverload<>(&QWidget::update));
    connect(&bench.queue, &RunQueue::changed, this, qOverload<>(&QWidget::update));
    connect(&bench, &Workbench::workspaceChanged, this, qOverload<>(&QWidget::update));
}

void StatusBar::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    const SystemReading& r = m_bench.probe.reading();
    QPainter p(this);
    p.fillRect(rect(), t.bg0);
    p.fillRect(0, 0, width(), 1, t.line);
    const QFont plain = themeFont(Type::Caption);
    QFont strong = plain;
    strong.setWeight(QFont::DemiBold);
    double x = 12;
    const auto text = [&](const QString& words, bool isStrong, const QColor& color,
                          double gap = 5) {
        p.setFont(isStrong ? strong : plain);
        p.setPen(color);
        p.drawText(QRectF(x, 1, 600, height() - 1), Qt::AlignVCenter, words);
        x += p.fontMetrics().horizontalAdvance(words) + gap;
    };
    const auto icon = [&](const char* name) {
        drawIcon(p, name, QRectF(x, (height() - 13) / 2.0 + 0.5, 13, 13), t.t2);
        x += 18;
    };
    const auto bar = [&](double share, const QColor& color) {
        p.setRenderHint(QPainter::Antialiasing);
        p.setPen(Qt::NoPen);
        p.setBrush(t.line2);
        p.drawRoundedRect(QRectF(x, height() / 2.0 - 1.5, 72, 4), 2, 2);
        p.setBrush(color);
        p.drawRoundedRect(QRectF(x, height() / 2.0 - 1.5, 72 * qBound(0.0, share, 1.0), 4), 2, 2);
        p.setRenderHint(QPainter::Antialiasing, false);
        x += 78;
    };
    if (r.memoryTotal > 0) {
        if (!r.gpus.empty()) {
            const GpuReading& gpu = r.gpus.front();
            icon("gpu");
            text("GPU 0", true, t.t1);
            text(QString(gpu.name).remove("NVIDIA ").remove("GeForce "), false, t.t2, 14);
            bar(gpu.usedBytes / qMax(1.0, gpu.totalBytes), t.acc);
            text(format::gib(gpu.usedBytes), true, t.t1);
            text(QStringLiteral("/ %1 GiB").arg(format::gib(gpu.totalBytes)), false, t.t2, 14);
            if (gpu.celsius > 0)
                text(QStringLiteral("%1 °C · %2 W").arg(gpu.celsius).arg(gpu.watts, 0, 'f', 0),
                     false, t.t2, 14);
        } else {
            icon("cpu");
            text("CPU", true, t.t1);
            text(tr("%1, %n core(s)", nullptr, r.cores).arg(r.cpuName), false, t.t2, 14);
            bar(r.cpuShare, t.acc);
            text(QStringLiteral("%1 %").arg(r.cpuShare * 100, 0, 'f', 0), true, t.t1, 14);
            if (r.celsius > 0) text(QStringLiteral("%1 °C").arg(r.celsius), false, t.t2, 14);
        }
        icon("memory");
        text("RAM", false, t.t2);
        text(format::gib(r.memoryUsed), true, t.t1);
        text(QStringLiteral("/ %1 GiB").arg(format::gib(r.memoryTotal)), false, t.t2, 14);
        icon("disk");
        text(tr("Disk"), false, t.t2);
        text(format::bytes(r.diskFree), true, t.t1);
        text(tr("free"), false, t.t2);
    }
    const double leftEnd = x;
    struct Part {
        QString words;
        bool isStrong;
        double gap;
    };
    const Part parts[] = {{tr("Workspace"), false, 5},
                          {QFileInfo(m_bench.workspace()).fileName(), true, 14},
                          {tr("Queue"), false, 5},
                          {QString::number(m_bench.queue.waiting().size()), true, 14},
                          {"Luthier " + QCoreApplication::applicationVersion(), false, 0}};
    double width = 18;
    for (const Part& part : parts)
        width +=
            QFontMetrics(part.isStrong ? strong : plain).horizontalAdvance(part.words) + part.gap;
    x = this->width() - 12 - width;
    if (x < leftEnd + 16) return;
    icon("folder");
    for (const Part& part : parts)
        text(part.words, part.isStrong, part.isStrong ? t.t1 : t.t2, part.gap);
}

}  // namespace luthier::ui
