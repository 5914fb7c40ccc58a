// Package execjson tells a job's event log in the dialect of codex exec --json,
// so that what reads the output of Codex on a developer's machine reads the
// gateway too.
//
// It guarantees that the lines of a job have the types, fields, item numbers
// and order that codex exec 0.169 prints for the same notifications; that they
// begin with thread.started, have one turn.started and end with one
// turn.completed or turn.failed, which come from the job's terminal event and
// never before it; and that whatever is in a log, each line is valid JSON. The
// recordings in testdata hold it to that.
//
// Where a job is more than a run of Codex it says so in the same words:
//
//   - thread_id is the conversation's id: what a client needs to go on;
//   - an attempt that was lost or handed over is an item of type error, after
//     which items come anew, as codex exec reports what does not end a turn;
//   - a cancel, a time limit and a failure outside the turn are an error and a
//     turn.failed;
//   - codex exec gives a web_search item two members "id"; here it has one, the
//     item's.
//
// The route POST /exec of codexgateway.dev/services/edge/internal/httpapi
// writes what it returns.
package execjson
