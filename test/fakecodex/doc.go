// Command fakecodex stands in for the Codex CLI where the real one would have to
// misbehave on demand.
//
// It speaks `codex app-server` over stdio as version 0.169.0 does: the same
// methods the worker calls, the same refusals, the notifications of a turn in
// the same order. Conversations are rollout files under CODEX_HOME/sessions, so
// thread/resume works in another process that finds the file, and refuses a
// thread whose file is missing. Nothing is run and no model is called.
//
// # Directives
//
// The prompt of turn/start decides. The first word that starts with "fake:" is
// the directive, the rest of its line are the arguments; a prompt without one is
// answered as by hello.
//
//	fake:hello                  a short message
//	fake:say TEXT               the message TEXT, word by word
//	fake:many-deltas N          a message of N deltas, as fast as they are read
//	fake:slow N MS              a message of N deltas, one each MS milliseconds
//	fake:write PATH TEXT        write PATH (relative to the cwd) and tell it as a
//	                            file change, with a repeated turn/diff/updated
//	fake:approval COMMAND       ask for approval of COMMAND, then act on the answer
//	fake:retry                  a message cut by a retry, then written again
//	fake:fail INFO [STATUS]     the turn fails with codexErrorInfo INFO, an object
//	                            with httpStatusCode STATUS when that is given
//	fake:unknown                a notification and a request that do not exist
//	fake:garbage [N]            N lines that are no messages (default 1), then hello
//	fake:huge-line SIZE         one line of SIZE (as 50MB, 200KB, 10), then hello
//	fake:stderr SIZE            SIZE bytes on stderr, then hello
//	fake:silence                nothing, until interrupted
//	fake:interrupt-ignored      nothing; an interrupt is answered and has no effect
//	fake:ignore-sigterm         nothing; SIGTERM, the end of stdin and interrupts
//	                            have no effect
//	fake:exit-without-turn      exit with status 0 and leave the turn open
//	fake:crash-mid-turn         exit with status 101 in the middle of a message
//	fake:crash-in-command       exit with status 101 while a command runs
//	fake:crash-once             crash-mid-turn the first time in a conversation,
//	                            hello after a resume
//
// # Names
//
// What comes before any prompt is chosen by the name it is called by, or that of
// the file a symlink leads to: one with "no-sandbox" in it fails the sandbox probe,
// "slow-init" answers initialize after two seconds, "no-init" never does and
// "crash-init" exits with status 101 instead; "no-thread" and "crash-thread" do
// the same to thread/start and thread/resume; "old-version" says that it is
// 0.100.0.
package main
