// Package mockmodel is a model for laptops and tests: the OpenAI Responses API
// over SSE, as far as Codex 0.169 speaks it, deterministic and scripted by the
// prompt itself.
//
// It serves POST /v1/responses and nothing else. The standalone gateway starts
// it when no model key is set, the worker's tests and the end-to-end tests put
// it behind the broker. It guarantees that the same conversation gets the same
// bytes (ids and created_at aside from [Options.Now] derive from the request),
// that the first byte leaves within a millisecond, and that its memory is
// bounded whatever it is sent.
//
// # Script
//
// The newest user message of the input is the script. A directive starts at
// "mock:" (at the start of a line or after a blank) and ends at the next one or
// at the end of the line:
//
//	mock: say TEXT              a message, streamed word by word; \n is a newline
//	mock: deltas N EVERY_MS     a message of N words, one each EVERY_MS
//	mock: reasoning TEXT        a reasoning item with TEXT as its summary
//	mock: shell CMD             call exec_command
//	mock: escalate CMD          call exec_command, asking to leave the sandbox
//	mock: write PATH TEXT       call apply_patch, adding PATH; \n is a newline
//	mock: patch                 call apply_patch with the lines that follow, up
//	                            to and including "*** End Patch"
//	mock: slow-first MS         wait before the first byte of the response
//	mock: usage IN OUT          token counts of the response
//	mock: wait MS               how long the response's call waits for its command
//	                            before the model goes on without it; 30 s
//	mock: status CODE [TIMES] [retry-after S] [type T]
//	                            answer CODE instead of a stream
//	mock: fail CODE [TIMES]     end the stream with response.failed
//	mock: cut [TIMES]           drop the connection in the middle of a message
//	mock: bad-json [TIMES]      send an event that is not JSON, then end
//	mock: hang                  stop sending, until the client leaves
//
// Calls divide the script: a response is everything up to and including the
// next call, so directives belong to the response they stand in, and the number
// of call outputs after the message tells which response is due. A last
// response without a message says "Done.". Text without directives is answered
// with a greeting that repeats it; a directive that is not understood is
// answered with what is wrong.
//
// TIMES counts per conversation (prompt_cache_key), user message and directive,
// so jobs that run side by side do not disturb each other; without it the fault
// never ends. The newest 4096 counters are kept, an older one starts again.
//
// Models in code mode (gpt-5.6, gpt-6) are offered tools as an additional_tools
// item; calls are then JavaScript for their tool "exec".
package mockmodel
