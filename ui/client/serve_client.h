// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// One `luthier-cli serve` session (core/contract/PROTOCOL.md). Requests carry an id; answers find
// their handler by it. When the process dies every open request fails with a sentence, and the next
// request starts a new process: the window never dies with it. A process that owes an answer and
// says nothing at all for the silence limit counts as hung and is ended.

#include <QJsonArray>
#include <QJsonObject>
#include <QJsonValue>
#include <QObject>
#include <QPointer>
#include <QProcess>
#include <QTimer>

#include <functional>
#include <map>

namespace luthier::ui {

struct ServeProblem {
    QString code, message, hint, field;
    QJsonArray all;  ///< every problem of a checked document: {code, message, hint, field}
};

class ServeClient final : public QObject {
    Q_OBJECT
public:
    struct Handlers {
        std::function<void(const QJsonValue&)> result;
        std::function<void(const ServeProblem&)> problem;
        std::function<void(const QJsonObject&)> event;  ///< token, phase
    };

    explicit ServeClient(QString program, int silenceLimitMs = 120000, QObject* parent = nullptr);
    ~ServeClient() override;

    void setWorkingFolder(const QString& folder) { m_folder = folder; }
    /// Sends `command`; handlers run only while `context` lives. Returns the request's id.
    int request(const QString& command, QJsonObject parameters, QObject* context,
                Handlers handlers);
    void cancel(int id);
    bool isRunning() const { return m_process && m_process->state() != QProcess::NotRunning; }
    qint64 processId() const { return m_process ? m_process->processId() : 0; }
    QString lastWords() const { return QString::fromUtf8(m_errors.right(4000)); }

signals:
    void died(const QString& sentence);
    void busyChanged(bool busy);

private:
    struct Pending {
        QPointer<QObject> context;
        Handlers handlers;
    };
    bool start();
    void read();
    void take(const QJsonObject& answer);
    void failAll(const ServeProblem& problem);
    void endHung();

    QString m_program;
    QString m_folder;
    QProcess* m_process = nullptr;
    QByteArray m_buffer;
    QByteArray m_errors;
    std::map<int, Pending> m_pending;
    int m_nextId = 1;
    QTimer m_silence;
};

}  // namespace luthier::ui
