// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Small builders that every page uses: labels by type and tone, buttons by kind, rules, pane
// headers, layouts without margins. Looks come from the style sheet through dynamic properties, so
// a theme change needs no code here.

#include <QBoxLayout>
#include <QDialog>
#include <QFrame>
#include <QLabel>
#include <QPointer>
#include <QPushButton>

class QScrollArea;

namespace luthier::ui {

/// type: hero message title body strong name table tablename caption group mono monosmall; tone: t1
/// t2 t3 acc ok warn err dis
QLabel* makeLabel(const QString& text, const char* type = "body", const char* tone = "t1",
                  QWidget* parent = nullptr);
void setTone(QLabel* label, const char* tone);
/// Sets a dynamic property and lets the style sheet look again.
void setLook(QWidget* widget, const char* property, const QVariant& value);

/// kind: plain primary ghost danger link icon iconframe check; size 24, 28, 32, 36
QPushButton* makeButton(const QString& text, const char* kind = "plain", int size = 28,
                        const QString& icon = {});
QPushButton* makeIconButton(const QString& icon, const QString& accessibleName, int size = 28,
                            const char* kind = "icon");

QFrame* makeRule(Qt::Orientation orientation = Qt::Horizontal);
QHBoxLayout* makeRow(int spacing = 8, int margin = 0);
QVBoxLayout* makeColumn(int spacing = 8, int margin = 0);
/// A scroll area around `content`, transparent, without frame.
QScrollArea* makeScroll(QWidget* content);

/// A QLabel that cuts its text with … instead of growing; the whole text is its tooltip when cut.
class ElidedLabel final : public QLabel {
    Q_OBJECT
public:
    explicit ElidedLabel(const QString& text = {}, const char* type = "body",
                         const char* tone = "t1");
    void setWhole(const QString& text);
    QSize minimumSizeHint() const override { return {24, QLabel::minimumSizeHint().height()}; }
    QSize sizeHint() const override;

protected:
    void resizeEvent(QResizeEvent*) override { cut(); }
    void changeEvent(QEvent* event) override;

private:
    void cut();
    QString m_whole;
};

/// 40 px header with a title left and room for controls right.
class PaneHeader final : public QWidget {
    Q_OBJECT
public:
    explicit PaneHeader(const QString& title, int height = 40);
    void setTitle(const QString& title);
    void setNote(const QString& note);  ///< t3 beside the title
    void addLeft(QWidget* widget);
    void addRight(QWidget* widget);

private:
    QLabel* m_title;
    ElidedLabel* m_note;
    QHBoxLayout* m_left;
    QHBoxLayout* m_right;
};

/// A modal window with a 1 px border over a scrim on its parent's window.
class FramedDialog : public QDialog {
    Q_OBJECT
public:
    FramedDialog(const QString& title, QSize size, QWidget* parent);
    ~FramedDialog() override;

protected:
    void paintEvent(QPaintEvent*) override;

private:
    QPointer<QWidget> m_scrim;
};

/// Icon, message, one action: what an empty or failed pane shows instead of nothing.
class EmptyState final : public QWidget {
    Q_OBJECT
public:
    EmptyState(const QString& icon, const QString& title, const QString& text,
               const QString& action = {});
    void set(const QString& icon, const QString& title, const QString& text, const QString& action,
             bool isProblem = false);

signals:
    void triggered();

private:
    void showIcon();
    QString m_iconName;
    bool m_isProblem = false;
    QLabel* m_icon;
    QLabel* m_title;
    QLabel* m_text;
    QPushButton* m_button;
};

/// One line of warning, error, success or note with up to one action at its right.
class Banner final : public QFrame {
    Q_OBJECT
public:
    explicit Banner(QWidget* parent = nullptr);
    void show(const char* kind, const QString& text,
              const QString& action = {});  ///< kind: warn err ok note

signals:
    void triggered();

private:
    void showIcon();
    QString m_kind;
    QLabel* m_icon;
    QLabel* m_text;
    QPushButton* m_action;
};

}  // namespace luthier::ui
