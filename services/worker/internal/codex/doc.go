// Package codex speaks to one `codex app-server` over its stdin, stdout and
// stderr.
//
// It owns the wire: one JSON object per line, requests and their answers,
// notifications, requests of the server (approvals), the state of a turn, the
// meaning of Codex's errors as job codes, and the configuration a job's thread
// runs under. It starts no process; package jail does and hands over the pipes.
// The runner of a job is the one caller.
//
// # Guarantees
//
// Every notification reaches [Options.OnNotification] once, in the order it was
// written, its params byte for byte as Codex wrote them. A [Turn] ends after
// the handler returned for its last notification, so what the handler stored is
// stored when Wait returns. Stdout and stderr are read until they end, whatever
// happened before, because Codex buffers without limit what nobody reads and
// its exit hangs on a full pipe.
//
// # Full queues
//
// Between the reader of stdout and the handlers stands a queue bounded in bytes
// ([Options.QueueBytes]). When it is full the reader stops reading: the pipe
// fills and Codex keeps the rest in its own memory (it has no backpressure
// towards the model), which the memory limit of the job's cgroup bounds. Nothing
// is dropped. Answers to requests stand behind the notifications before them, so
// a handler must not wait for a request of its own client.
//
// # Facts about Codex 0.169 that the code relies on
//
// The permission profile, the provider, its token, the environment policy and
// the trust of a project may all come with thread/start or thread/resume; see
// [JobConfig] for what was verified and [HomeConfig] for what must be a file.
// An answer to thread/start that does not name the profile asked for is refused
// ([ErrProfileIgnored]).
//
// A quick command that fails inside the sandbox with something like a denial
// yields no commandExecution item at all, not even item/started; the model sees
// its output all the same. Commands such as rm -f are refused by Codex itself
// when nobody can approve them.
package codex
