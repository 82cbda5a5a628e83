// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/queue_pane.h"

#include "theme/format.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"

#include <QContextMenuEvent>
#include <QKeyEvent>
#include <QMenu>
#include <QMouseEvent>
#include <QPainter>
#include <QScrollArea>

#include <cmath>

namespace luthier::ui {

QueueRow::QueueRow(const QString& id, const QString& icon, const QString& name,
                   const QString& words, const QString& note)
    : m_id(id), m_icon(icon), m_name(name), m_words(words), m_note(note) {
    setAccessibleName(name + ", " + words);
    setToolTip(name);
    setFocusPolicy(Qt::TabFocus);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
}

QSize QueueRow::sizeHint() const { return {160, px(52)}; }

void QueueRow::paintEvent(QPaintEvent*) {
    const Tokens& t = Theme::tokens();
    QPainter p(this);
    if (m_isSelected)
        p.fillRect(rect(), t.soft);
    else if (underMouse())
        p.fillRect(rect(), t.bg3);
    p.fillRect(0, height() - 1, width(), 1, t.line);
    if (m_progress >= 0) {
        p.fillRect(QRectF(0, height() - 2, width() * std::clamp(m_progress, 0.0, 1.0), 2), t.acc);
    }
    const QColor iconColor = m_icon == "dot"       ? t.acc
                             : m_icon == "check"   ? t.ok
                             : m_icon == "error"   ? t.err
                             : m_icon == "warning" ? t.warn
                                                   : t.t3;
    drawIcon(p, m_icon, QRectF(12, 10, 14, 14), iconColor);
    if (m_icon == "circle") {  // a grip to drag a waiting run by
        p.setPen(Qt::NoPen);
        p.setBrush(m_dragFrom >= 0 ? t.acc : t.t3);
        p.setRenderHint(QPainter::Antialiasing);
        for (int row = 0; row < 3; ++row)
            for (int column = 0; column < 2; ++column)
                p.drawEllipse(QPointF(width() - 18 + column * 5, height() / 2.0 - 6 + row * 5), 1.3,
                              1.3);
    }
    p.setFont(themeFont(Type::Caption));
    const double noteWidth = p.fontMetrics().horizontalAdvance(m_note);
    p.setPen(m_progress >= 0 ? t.acc : t.t3);
    p.drawText(QRectF(0, 7, width() - 12, 20), Qt::AlignRight | Qt::AlignVCenter, m_note);
    p.setFont(themeFont(Type::Name));
    p.setPen(m_isDimmed ? t.t2 : t.t1);
    p.drawText(QRectF(33, 7, width() - 45, 20), Qt::AlignVCenter,
               p.fontMetrics().elidedText(m_name, Qt::ElideMiddle,
                                          static_cast<int>(width() - 52 - noteWidth)));
    p.setFont(themeFont(Type::Table));
    p.setPen(t.t2);
    p.drawText(QRectF(33, 26, width() - 45, 18), Qt::AlignVCenter,
               p.fontMetrics().elidedText(m_words, Qt::ElideRight, width() - 45));
}

void QueueRow::contextMenuEvent(QContextMenuEvent* event) {
    if (m_icon != "circle") return;
    // Shown, not waited for: the queue goes on meanwhile, and a row that goes takes its menu along.
    auto* menu = new QMenu(this);
    menu->setAttribute(Qt::WA_DeleteOnClose);
    menu->addAction(tr("Move up"), this, [this] { emit moveWanted(-1); });
    menu->addAction(tr("Move down"), this, [this] { emit moveWanted(1); });
    menu->addAction(tr("Remove from queue"), this, [this] { emit removeWanted(); });
    menu->popup(event->globalPos());
}

void QueueRow::mousePressEvent(QMouseEvent* event) {
    if (event->button() != Qt::LeftButton || !isOnGrip(event->position()))
        return QAbstractButton::mousePressEvent(event);
    m_dragFrom = event->globalPosition().y();
    raise();
    setCursor(Qt::ClosedHandCursor);
    update();
}

void QueueRow::mouseMoveEvent(QMouseEvent* event) {
    if (m_dragFrom < 0) return QAbstractButton::mouseMoveEvent(event);
    const int wanted = static_cast<int>(event->globalPosition().y() - m_dragFrom);
    move(x(), y() + wanted - property("shift").toInt());
    setProperty("shift", wanted);
}

void QueueRow::mouseReleaseEvent(QMouseEvent* event) {
    if (m_dragFrom < 0) return QAbstractButton::mouseReleaseEvent(event);
    const int shift = property("shift").toInt(),
              rows = static_cast<int>(std::lround(static_cast<double>(shift) / height()));
    move(x(), y() - shift);
    setProperty("shift", 0);
    m_dragFrom = -1;
    unsetCursor();
    update();
    if (rows != 0) emit moveWanted(rows);
}

void QueueRow::keyPressEvent(QKeyEvent* event) {
    if (event->key() == Qt::Key_Delete)
        emit removeWanted();
    else if (event->modifiers() & Qt::AltModifier && event->key() == Qt::Key_Up)
        emit moveWanted(-1);
    else if (event->modifiers() & Qt::AltModifier && event->key() == Qt::Key_Down)
        emit moveWanted(1);
    else
        QAbstractButton::keyPressEvent(event);
}

QueuePane::QueuePane(Workbench& bench) : m_bench(bench) {
    auto* column = makeColumn(0);
    auto* header = new PaneHeader(tr("Queue"));
    m_count = new Chip;
    header->addLeft(m_count);
    m_hold = makeIconButton("pause",
                            tr("Hold the queue: the run that trains goes on, none follows"), 24);
    auto* add = makeIconButton("plus", tr("New run"), 24);
    header->addRight(m_hold);
    header->addRight(add);
    column->addWidget(header);
    column->addWidget(makeRule());
    auto* content = new QWidget;
    m_list = makeColumn(0);
    content->setLayout(m_list);
    column->addWidget(makeScroll(content), 1);
    setLayout(column);
    connect(add, &QPushButton::clicked, this, [this] { m_bench.goTo(PageId::NewRun); });
    connect(m_hold, &QPushButton::clicked, this,
            [this] { m_bench.queue.setHeld(!m_bench.queue.isHeld()); });
    connect(&bench.queue, &RunQueue::changed, this, &QueuePane::rebuild);
    connect(&bench.runs, &RunLibrary::changed, this, &QueuePane::rebuild);
    connect(&Theme::instance(), &Theme::changed, this, [this] {
        m_signature.clear();
        rebuild();
    });
    rebuild();
}

void QueuePane::setSelected(const QString& id) {
    m_selected = id;
    for (QueueRow* row : m_rows)
        row->setState(row->id() == id, row->id() == m_bench.queue.activeId()
                                           ? row->property("share").toDouble()
                                           : -1);
}

void QueuePane::showProgress(const QString& id, double share, const QString& words) {
    for (QueueRow* row : m_rows)
        if (row->id() == id) {
            row->setProperty("share", share);
            row->setWords(words, QStringLiteral("%1 %").arg(static_cast<int>(share * 100)));
            row->setState(id == m_selected, share);
        }
}

void QueuePane::showActive() {
    if (!m_feed || !isVisible()) return;
    const RunSnapshot& run = m_feed->record().snapshot;
    if (run.maxSteps <= 0 || run.isOver()) return;
    showProgress(m_bench.queue.activeId(),
                 static_cast<double>(run.lastStep()) / static_cast<double>(run.maxSteps),
                 tr("%1 · step %2 of %3")
                     .arg(methodTitle(QString::fromStdString(run.method)),
                          format::count(run.lastStep()), format::count(run.maxSteps)));
}

QString QueuePane::nameOf(const QString& id) const {
    if (const RunInfo* info = m_bench.runs.find(id)) return info->name;
    const std::string name = m_bench.feed(id)->record().snapshot.name;  // too young for the list
    return name.empty() ? id : QString::fromStdString(name);
}

void QueuePane::rebuild() {
    const auto& waiting = m_bench.queue.waiting();
    const QString active = m_bench.queue.activeId();
    QString signature = active + (active.isEmpty() ? QString() : nameOf(active)) +
                        (m_bench.queue.isHeld() ? "h" : "r");
    for (const WaitingRun& run : waiting) signature += "|" + run.id;
    for (const RunInfo& run : m_bench.runs.runs())
        signature += "/" + run.id + run.status + run.name;
    if (signature == m_signature) return;
    m_signature = signature;
    m_hold->setIcon(themedIcon(m_bench.queue.isHeld() ? "play" : "pause"));
    m_hold->setToolTip(m_bench.queue.isHeld()
                           ? tr("Let the queue go on")
                           : tr("Hold the queue: the run that trains goes on, none follows"));
    m_count->set(m_bench.queue.isHeld() ? tr("held, %1 waiting").arg(waiting.size())
                                        : tr("%1 waiting").arg(waiting.size()),
                 m_bench.queue.isHeld() ? "warn" : "plain");
    m_rows.clear();
    while (QLayoutItem* item = m_list->takeAt(0)) {
        if (item->widget()) {
            item->widget()->hide();
            item->widget()->deleteLater();
        }
        delete item;
    }
    const auto addRow = [this](QueueRow* row) {
        m_list->addWidget(row);
        m_rows << row;
        const QString id = row->id();
        connect(row, &QAbstractButton::clicked, this, [this, id] { emit chosen(id); });
    };
    if (!active.isEmpty()) {
        const RunInfo* info = m_bench.runs.find(active);
        auto* row = new QueueRow(active, info && info->status == "paused" ? "pause" : "dot",
                                 nameOf(active), info ? info->methodWords() : tr("starting"), {});
        addRow(row);
        row->setState(active == m_selected, 0);
        if (const std::shared_ptr<RunFeed> feed = m_bench.feed(active); feed != m_feed) {
            if (m_feed) disconnect(m_feed.get(), nullptr, this, nullptr);
            m_feed = feed;
            connect(feed.get(), &RunFeed::changed, this, &QueuePane::showActive);
        }
        showActive();
    }
    for (std::size_t i = 0; i < waiting.size(); ++i) {
        const QString id = waiting[i].id;
        auto* row = new QueueRow(id, "circle", waiting[i].name, waiting[i].words, {});
        addRow(row);
        connect(row, &QueueRow::removeWanted, this, [this, run = waiting[i]] {
            m_bench.queue.remove(run.id);
            m_bench.say(tr("%1 was removed from the queue.").arg(run.name), tr("Undo"),
                        [this, run] {
                            QString error;
                            m_bench.queue.add(run.config, false, &error);
                        });
        });
        connect(row, &QueueRow::moveWanted, this,
                [this, id, i](int delta) { m_bench.queue.move(id, static_cast<int>(i) + delta); });
    }
    if (active.isEmpty() && waiting.empty()) {
        auto* none = makeLabel(tr("Nothing trains and nothing waits."), "table", "t3");
        none->setContentsMargins(16, 12, 16, 12);
        m_list->addWidget(none);
    }
    auto* finished = new PaneHeader(tr("Finished"));
    int count = 0;
    m_list->addWidget(makeRule());
    m_list->addWidget(finished);
    m_list->addWidget(makeRule());
    for (const RunInfo& run : m_bench.runs.runs()) {
        if (run.id == active || count >= 60) continue;
        const bool isFailed = run.status == "failed";
        const QString words =
            isFailed ? (run.failureMessage.isEmpty() ? tr("Failed") : run.failureMessage)
            : run.status == "interrupted" ? tr("Interrupted at step %1").arg(run.steps)
            : !std::isnan(run.bestEval)
                ? tr("best %1 · %2").arg(format::loss(run.bestEval), format::duration(run.seconds))
                : tr("loss %1 · %2").arg(format::loss(run.loss), format::duration(run.seconds));
        const QString icon = isFailed                      ? "error"
                             : run.status == "interrupted" ? "warning"
                             : run.status == "stopped"     ? "stop"
                             : run.isActive()              ? "dot"
                                                           : "check";
        auto* row = new QueueRow(run.id, icon, run.name, words, format::moment(run.created));
        addRow(row);
        row->setState(run.id == m_selected, -1);
        ++count;
    }
    finished->setNote(QString::number(count));
    m_list->addStretch(1);
}

}  // namespace luthier::ui
