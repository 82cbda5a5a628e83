// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// One destination on the Export page: what it is, which files it makes and how large they are, its
// state (ready, writing, verified, failed, not available) and the one button that fits the state.

#include <QFrame>

#include <vector>

class QLabel;
class QProgressBar;
class QPushButton;

namespace luthier::ui {

class Chip;
class ElidedLabel;
class FactRows;
struct Fact;

class ExportCard final : public QFrame {
    Q_OBJECT
public:
    enum class State { Ready, Writing, Verified, Failed, ByTheRun, NotAvailable };

    ExportCard(const QString& format, const QString& icon, const QString& title,
               const QString& summary);
    QString format() const { return m_format; }
    void setState(State state, const QString& words = {});  ///< words: phase, problem or reason
    State state() const { return m_state; }
    void setProgress(const QString& phase, int done, int total);
    void setFiles(const std::vector<Fact>& files);
    void setNote(const QString& note);
    void setSelected(bool isSelected);

signals:
    void chosen();
    void exportWanted();
    void cancelWanted();
    void showWanted();

protected:
    void mousePressEvent(QMouseEvent*) override { emit chosen(); }
    void keyPressEvent(QKeyEvent* event) override;
    void changeEvent(QEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;

private:
    void showIcon();
    QString m_format, m_iconName;
    State m_state = State::Ready;
    QLabel *m_icon, *m_title, *m_words;
    ElidedLabel *m_summary, *m_note;
    Chip* m_chip;
    FactRows* m_files;
    QProgressBar* m_bar;
    QPushButton *m_action, *m_again;
};

}  // namespace luthier::ui
