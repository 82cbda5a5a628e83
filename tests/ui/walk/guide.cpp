// SPDX-License-Identifier: GPL-3.0-or-later
// A Qt plugin (`luthier -plugin walkguide`) for tests that drive the real window with a real mouse
// and keyboard: it tells where a control is and what it says, by accessible name, over the socket
// in LUTHIER_WALK_SOCKET. It never presses anything itself.
//
//   controls         -> [{"name","text","role","x","y","w","h","enabled","checked"}…] of the active
//   window, screen pixels rows             -> [{"cells":[…],"x","y","w","h"}…] of every visible
//   item view
#include <QAbstractButton>
#include <QAbstractItemView>
#include <QAccessible>
#include <QApplication>
#include <QComboBox>
#include <QGenericPlugin>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QLabel>
#include <QLineEdit>
#include <QLocalServer>
#include <QLocalSocket>
#include <QTimer>

namespace {

QJsonObject boxOf(const QWidget* widget, const QRect& box) {
    const QPoint corner = widget->mapToGlobal(box.topLeft());
    return {{"x", corner.x()}, {"y", corner.y()}, {"w", box.width()}, {"h", box.height()}};
}

/// The part of a widget that none of its ancestors cuts off.
QRect seenOf(const QWidget* widget) {
    QRect seen = widget->rect();
    for (const QWidget* at = widget; at->parentWidget() && !at->isWindow();
         at = at->parentWidget()) {
        seen &= widget->rect() &
                QRect(widget->mapFrom(at->parentWidget(), QPoint()), at->parentWidget()->size());
    }
    return seen;
}

QWidget* frontWindow() {
    if (QWidget* popup = QApplication::activePopupWidget()) return popup;
    if (QWidget* dialog = QApplication::activeModalWidget()) return dialog;
    for (QWidget* window : QApplication::topLevelWidgets())
        if (window->isVisible() && window->windowType() == Qt::Window) return window;
    return nullptr;
}

QJsonArray controls() {
    QJsonArray list;
    QWidget* window = frontWindow();
    if (!window) return list;
    for (QWidget* widget : window->findChildren<QWidget*>()) {
        // What scrolled out of its pane is not there for a mouse.
        const QRect seen = seenOf(widget);
        if (!widget->isVisible() || seen.isEmpty()) continue;
        QString text, role = widget->metaObject()->className();
        bool isChecked = false;
        if (auto* button = qobject_cast<QAbstractButton*>(widget)) {
            text = button->text().trimmed();
            isChecked = button->isChecked();
            role = "button";
        } else if (auto* edit = qobject_cast<QLineEdit*>(widget)) {
            text = edit->text();
            role = "field";
        } else if (auto* label = qobject_cast<QLabel*>(widget)) {
            text = label->text();
            role = "label";
        } else if (auto* combo = qobject_cast<QComboBox*>(widget)) {
            text = combo->currentText();
            role = "combo";
        }
        if (text.isEmpty() && widget->accessibleName().isEmpty()) continue;
        QAccessibleInterface* accessible = QAccessible::queryAccessibleInterface(widget);
        QJsonObject entry = boxOf(widget, seen);
        entry["name"] = widget->accessibleName().isEmpty() ? text : widget->accessibleName();
        entry["text"] = text;
        entry["role"] = role;
        entry["about"] = accessible ? accessible->text(QAccessible::Description) : QString();
        entry["enabled"] = widget->isEnabled();
        entry["checked"] = isChecked;
        list << entry;
    }
    return list;
}

QJsonArray rows() {
    QJsonArray list;
    QWidget* window = frontWindow();
    if (!window) return list;
    for (QAbstractItemView* view : window->findChildren<QAbstractItemView*>()) {
        if (!view->isVisible() || !view->model()) continue;
        for (int row = 0; row < view->model()->rowCount(view->rootIndex()); ++row) {
            QJsonArray cells;
            for (int column = 0; column < view->model()->columnCount(view->rootIndex()); ++column)
                cells << view->model()->index(row, column, view->rootIndex()).data().toString();
            const QRect box = view->visualRect(view->model()->index(row, 0, view->rootIndex()));
            QJsonObject entry = boxOf(view->viewport(), box);
            entry["cells"] = cells;
            list << entry;
        }
    }
    return list;
}

class Guide final : public QObject {
public:
    Guide() {
        const QString name = qEnvironmentVariable("LUTHIER_WALK_SOCKET");
        if (name.isEmpty() || !m_server.listen(name)) return;
        connect(&m_server, &QLocalServer::newConnection, this, [this] {
            QLocalSocket* socket = m_server.nextPendingConnection();
            connect(socket, &QLocalSocket::disconnected, socket, &QObject::deleteLater);
            connect(socket, &QLocalSocket::readyRead, this, [socket] {
                while (socket->canReadLine()) {
                    const QByteArray question = socket->readLine().trimmed();
                    socket->write(QJsonDocument(question == "rows" ? rows() : controls())
                                      .toJson(QJsonDocument::Compact) +
                                  '\n');
                    socket->flush();
                }
            });
        });
    }

private:
    QLocalServer m_server;
};

}  // namespace

class WalkGuidePlugin final : public QGenericPlugin {
    Q_OBJECT
    Q_PLUGIN_METADATA(IID QGenericPluginFactoryInterface_iid FILE "guide.json")
public:
    QObject* create(const QString& name, const QString&) override {
        return name.compare("walkguide", Qt::CaseInsensitive) == 0 ? new Guide : nullptr;
    }
};

#include "guide.moc"
