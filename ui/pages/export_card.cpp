// SPDX-License-Identifier: GPL-3.0-or-later
#include "pages/export_card.h"

#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/fact_rows.h"

#include <QKeyEvent>
#include <QProgressBar>

namespace luthier::ui {

ExportCard::ExportCard(const QString& format, const QString& icon, const QString& title,
                       const QString& summary)
    : m_format(format), m_iconName(icon) {
    setProperty("pick", "rest");
    setFocusPolicy(Qt::TabFocus);
    setAccessibleName(title);
    setAccessibleDescription(summary);
    setMinimumSize(px(236), px(176));
    setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
    auto* column = makeColumn(8);
    column->setContentsMargins(16, 14, 16, 14);
    auto* head = makeRow(10);
    m_icon = new QLabel;
    auto* names = makeColumn(2);
    m_title = makeLabel(title, "strong");
    m_title->setProperty("bigger", true);
    m_summary = new ElidedLabel(summary, "table", "t2");
    m_chip = new Chip;
    auto* first = makeRow(8);
    first->addWidget(m_title);
    first->addStretch(1);
    first->addWidget(m_chip);
    names->addLayout(first);
    names->addWidget(m_summary);
    head->addWidget(m_icon, 0, Qt::AlignTop);
    head->addLayout(names, 1);
    column->addLayout(head);
    m_files = new FactRows;
    m_files->setAccessibleName(tr("Files"));
    column->addWidget(m_files);
    m_words = makeLabel({}, "table", "t2");
    m_words->setWordWrap(true);
    column->addWidget(m_words);
    m_bar = new QProgressBar;
    m_bar->setTextVisible(false);
    column->addWidget(m_bar);
    column->addStretch(1);
    auto* foot = makeRow(8);
    m_note = new ElidedLabel({}, "table", "t2");
    m_again = makeButton(tr("Export again"), "ghost", 28);
    m_action = makeButton({}, "plain", 28);
    foot->addWidget(m_note, 1);
    foot->addWidget(m_again);
    foot->addWidget(m_action);
    column->addLayout(foot);
    setLayout(column);
    connect(m_again, &QPushButton::clicked, this, &ExportCard::exportWanted);
    connect(m_action, &QPushButton::clicked, this, [this] {
        emit chosen();
        if (m_state == State::Writing)
            emit cancelWanted();
        else if (m_state == State::Verified || m_state == State::ByTheRun)
            emit showWanted();
        else
            emit exportWanted();
    });
    setState(State::Ready);
}

void ExportCard::setState(State state, const QString& words) {
    m_state = state;
    const bool isOff = state == State::NotAvailable;
    setTone(m_title, isOff ? "t3" : "t1");
    m_chip->setVisible(state == State::Verified || state == State::Failed ||
                       state == State::Writing);
    if (state == State::Verified) m_chip->set(tr("Verified"), "ok", "ok");
    if (state == State::Failed) m_chip->set(tr("Failed"), "err", "error");
    if (state == State::Writing) m_chip->set(tr("writing"), "soft");
    m_files->setVisible(!isOff);
    m_words->setText(words);
    m_words->setVisible(!words.isEmpty());
    setTone(m_words, state == State::Failed ? "err" : "t2");
    m_bar->setVisible(state == State::Writing);
    m_again->setVisible(state == State::Verified);
    m_action->setVisible(!isOff);
    m_action->setEnabled(true);
    m_action->setText(state == State::Writing                                ? tr("Cancel")
                      : state == State::Verified || state == State::ByTheRun ? " " + tr("Show")
                      : state == State::Failed                               ? tr("Try again")
                                                                             : tr("Export"));
    m_action->setIcon(state == State::Verified || state == State::ByTheRun ? themedIcon("folder")
                                                                           : QIcon());
    m_note->setVisible(!isOff);
    showIcon();
}

void ExportCard::setProgress(const QString& phase, int done, int total) {
    m_words->setText(phase);
    m_bar->setRange(0, qMax(1, total));
    m_bar->setValue(done);
}

void ExportCard::setFiles(const std::vector<Fact>& files) { m_files->set(files); }
void ExportCard::setNote(const QString& note) { m_note->setWhole(note); }

void ExportCard::setSelected(bool isSelected) {
    setLook(this, "pick",
            m_state == State::NotAvailable ? "off"
            : isSelected                   ? "selected"
                                           : "rest");
    showIcon();
}

void ExportCard::showIcon() {
    const Tokens& t = Theme::tokens();
    m_icon->setPixmap(iconPixmap(m_iconName,
                                 m_state == State::NotAvailable   ? t.t3
                                 : property("pick") == "selected" ? t.acc
                                                                  : t.t2,
                                 18));
}

void ExportCard::keyPressEvent(QKeyEvent* event) {
    if (event->key() == Qt::Key_Space || event->key() == Qt::Key_Return) return emit chosen();
    QFrame::keyPressEvent(event);
}

void ExportCard::focusInEvent(QFocusEvent* event) {
    QFrame::focusInEvent(event);
    emit chosen();
}

void ExportCard::changeEvent(QEvent* event) {
    QFrame::changeEvent(event);
    if (event->type() == QEvent::PaletteChange) showIcon();
}

}  // namespace luthier::ui
